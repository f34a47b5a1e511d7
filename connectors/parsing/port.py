"""The port: what the ingest flow asks of a parser."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol


class Parsed(NamedTuple):
    """A document as text.

    Attributes:
        text: newlines are `\\n`, control characters other than tab are gone, and it is valid Unicode.
        title: the title that the file itself states, if it does.
    """

    text: str
    title: str | None
    media_type: Literal["text/markdown", "text/plain"]


class Parser(Protocol):
    """Turns bytes into text. Safe to call from several threads, which then wait for each other."""

    @property
    def fingerprint(self) -> str:
        """Changes when the same bytes may give another text."""

    def parse(self, data: bytes, media_type: str, *, timeout_s: float) -> Parsed:
        """Return the text of a file; blocks for as long as `timeout_s`, and a few seconds more where a process must start.

        Text and Markdown may come out empty, which is then what their author wrote; other formats may not.

        Raises:
            ParseRejected: the file is broken, hostile, too large, too slow, or of a media type that isn't supported.
        """

    def close(self) -> None:
        """End what runs beside this process; a later `parse` starts it again. May be called twice."""
