"""Characters that an endpoint sends in halves, made whole: JSON escapes an emoji as two, and tokens cut between them. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class WholeCharacters:
    """One text's. What comes out can be encoded: a half without its other one becomes `\N{REPLACEMENT CHARACTER}`."""

    _half: str = ""

    def feed(self, piece: str) -> str:
        """The piece, its last half character held back; one that nothing follows is left out."""
        text = self._half + piece
        self._half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        whole = text[:-1] if self._half else text
        return whole.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
