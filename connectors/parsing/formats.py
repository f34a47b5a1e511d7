"""The media types that can be parsed, and how."""

from __future__ import annotations

from typing import Final, Literal

from connectors.parsing.errors import ParseRejected

Format = Literal["text", "markdown", "html", "csv", "pdf", "docx", "pptx", "xlsx", "epub", "ipynb"]

_OOXML: Final = "application/vnd.openxmlformats-officedocument"
FORMATS: Final[dict[str, Format]] = {
    "text/plain": "text",
    "text/markdown": "markdown",
    "text/x-markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/pdf": "pdf",
    f"{_OOXML}.wordprocessingml.document": "docx",
    f"{_OOXML}.presentationml.presentation": "pptx",
    f"{_OOXML}.spreadsheetml.sheet": "xlsx",
    "application/epub+zip": "epub",
    "application/x-ipynb+json": "ipynb",
}
ARCHIVES: Final = frozenset({"docx", "pptx", "xlsx", "epub"})


def format_of(media_type: str) -> Format:
    """Return the format of a media type; parameters such as a charset are not looked at.

    Raises:
        ParseRejected: it is not supported.
    """
    essence = media_type.partition(";")[0].strip().lower()
    try:
        return FORMATS[essence]
    except KeyError:
        detail = f"can't parse {essence!r}; supported: {', '.join(sorted(FORMATS))}"
        msg = "unsupported_media_type"
        raise ParseRejected(msg, detail) from None
