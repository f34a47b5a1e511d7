"""The real parser: text in this process, everything else by markitdown in a warm, bounded, replaceable child process."""

from __future__ import annotations

import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from connectors.parsing.child import ChildProcess
from connectors.parsing.errors import ParseRejected
from connectors.parsing.formats import Format, format_of
from connectors.parsing.port import Parsed
from connectors.parsing.text import clean, decode
from connectors.parsing.wire import Message
from schemas.settings import MIB, ParsingSettings

PARSER_VERSION: Final = 1  # raise it with every change of ours that changes a text
FILES_PER_PROCESS: Final = 200  # libraries leak; a new process costs a second or two
MAX_LINES: Final = 500_000
"""A block's record takes a kilobyte: of so many a document's chunking takes a quarter of a gigabyte, whatever it holds."""
# Whose versions decide what comes out.
_LIBRARIES = ("markitdown", "pdfminer.six", "pdfplumber", "mammoth", "python-pptx", "openpyxl", "markdownify", "pandas")


class FileParser:
    """Implements `Parser` for all formats of `formats.py`. The child process starts with the first file that needs it."""

    def __init__(self, settings: ParsingSettings, *, files_per_process: int = FILES_PER_PROCESS) -> None:
        self._settings = settings
        self._files_per_process = files_per_process
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None

    @property
    def fingerprint(self) -> str:
        return f"files-{PARSER_VERSION};" + ";".join(f"{name}={_version(name)}" for name in _LIBRARIES)

    def parse(self, data: bytes, media_type: str, *, timeout_s: float) -> Parsed:
        file_format = format_of(media_type)
        limit = self._settings.max_input_mib * MIB
        if len(data) > limit:
            msg = "too_large"
            raise ParseRejected(msg, f"{len(data)} bytes; at most {limit} (RAG_PARSING__MAX_INPUT_MIB)")
        if file_format in {"text", "markdown"}:
            parsed = self._text(data, file_format)
        else:
            parsed = self._file(data, file_format, min(timeout_s, self._settings.timeout_s))
        if (lines := parsed.text.count("\n") + 1) > MAX_LINES:
            msg = "too_large"
            raise ParseRejected(msg, f"{lines} lines; at most {MAX_LINES}")
        return parsed

    def start(self) -> None:
        """Start the child process now, so that the first file needn't wait for it."""
        with self._lock:
            self._ready_child()

    def close(self) -> None:
        with self._lock:
            self._discard_child()

    def _text(self, data: bytes, file_format: Format) -> Parsed:
        text = clean(decode(data))
        limit = self._settings.max_output_chars
        if len(text) > limit:
            msg = "too_large"
            raise ParseRejected(msg, f"{len(text)} characters; at most {limit} (RAG_PARSING__MAX_OUTPUT_CHARS)")
        return Parsed(text, None, "text/plain" if file_format == "text" else "text/markdown")

    def _file(self, data: bytes, file_format: Format, timeout_s: float) -> Parsed:
        settings = self._settings
        header = {
            "format": file_format,
            "timeout_s": timeout_s,
            "memory_bytes": settings.memory_mib * MIB,
            "max_output_chars": settings.max_output_chars,
            "archive_limits": (settings.max_archive_mib * MIB, settings.max_archive_ratio, settings.max_archive_entries),
        }
        answer = self._ask(Message(header, data), timeout_s)
        if reason := answer.header.get("reason"):
            raise ParseRejected(reason, answer.header["detail"])
        text = answer.body.decode()
        if not text.strip():
            detail = f"the {file_format} file holds no text; pictures of text must be read (OCR) before they are sent"
            msg = "empty"
            raise ParseRejected(msg, detail)
        return Parsed(text, answer.header["title"], "text/markdown")

    def _ask(self, request: Message, timeout_s: float) -> Message:
        """Ask the child; whatever may have harmed it is followed by a new one. A file's time starts when it is asked."""
        with self._lock:
            child = self._ready_child()
            healthy = False
            try:
                answer = child.ask(request, timeout_s=timeout_s)
                healthy = answer.header.get("reason") != "out_of_memory" and child.files_parsed < self._files_per_process
            finally:
                if not healthy:
                    self._discard_child()
        return answer

    def _ready_child(self) -> ChildProcess:
        if self._child is not None and not self._child.is_alive:
            self._discard_child()
        if self._child is None:
            self._child = ChildProcess()
        return self._child

    def _discard_child(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "none"
