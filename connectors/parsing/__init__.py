"""From a file's bytes to Markdown or plain text: text in process, everything else in a bounded child process."""

from connectors.parsing.errors import ParseRejected
from connectors.parsing.parser import FileParser
from connectors.parsing.port import Parsed, Parser

__all__ = ["FileParser", "ParseRejected", "Parsed", "Parser"]
