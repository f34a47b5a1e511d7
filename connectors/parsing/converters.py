"""markitdown's converters, one a format; imported in the child process only, because that takes seconds and memory.

They are called one by one rather than through `MarkItDown`, which would guess the format, load plugins, fetch addresses
and start programs.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from markitdown import StreamInfo
from markitdown.converters import (
    CsvConverter,
    DocxConverter,
    EpubConverter,
    HtmlConverter,
    IpynbConverter,
    PdfConverter,
    PptxConverter,
    XlsxConverter,
)

if TYPE_CHECKING:
    from markitdown import DocumentConverter

_CLASSES: dict[str, type[DocumentConverter]] = {
    "html": HtmlConverter,
    "csv": CsvConverter,
    "pdf": PdfConverter,
    "docx": DocxConverter,
    "pptx": PptxConverter,
    "xlsx": XlsxConverter,
    "epub": EpubConverter,
    "ipynb": IpynbConverter,
}
_CONVERTERS = {name: converter() for name, converter in _CLASSES.items()}


def convert(data: bytes, file_format: str) -> tuple[str, object]:
    """Return the Markdown and the stated title. Raises: whatever the libraries raise on a file they don't like."""
    stream_info = StreamInfo(extension=f".{file_format}", charset=_charset(data, file_format))
    converted = _CONVERTERS[file_format].convert(io.BytesIO(data), stream_info)
    return converted.markdown, converted.title


def _charset(data: bytes, file_format: str) -> str | None:
    """UTF-8 for a table that is UTF-8, so that nothing is guessed; None lets the converter find out."""
    if file_format != "csv":
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return None
    return "utf-8"
