"""From a file's bytes to Markdown or plain text: text in process, everything else in a bounded child process."""

from connectors.parsing.errors import ParseRejected
from connectors.parsing.parser import FileParser
from connectors.parsing.port import Parsed, Parser
from connectors.parsing.text import clean_title

__all__ = ["FileParser", "ParseRejected", "Parsed", "Parser", "clean_title"]
