"""Bytes to clean text: strict UTF-8, one kind of newline, no control characters. Pure."""

from __future__ import annotations

import re

from connectors.parsing.errors import ParseRejected
from schemas.documents import MAX_TITLE_LENGTH

# A form feed or a line separator ends a line; whatever else is a control character says nothing to a reader.
_NEWLINE = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        ParseRejected: it is something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        detail = f"byte {exc.start} of {len(data)} is not UTF-8 ({exc.reason}); encode the text as UTF-8"
        msg = "not_utf8"
        raise ParseRejected(msg, detail) from exc


def clean(text: str) -> str:
    """Return the text with `\\n` for every newline, without control characters and unpaired surrogates."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", _NEWLINE.sub("\n", text)))


def clean_title(title: object) -> str | None:
    """Return a stated title as one line that is not too long; None when it is no text or says nothing."""
    if not isinstance(title, str):
        return None
    return " ".join(clean(title).split())[:MAX_TITLE_LENGTH].rstrip() or None
