"""Pictures in a model's text, made into links while it streams: a chat window fetches a picture by itself, and its address can
carry away what a passage talked the model into telling. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class PictureFilter:
    """One text's. A gap between `!` and `[`: in code and before a citation it means what it meant; a picture is a link then."""

    _ends_in_mark: bool = False

    def feed(self, piece: str) -> str:
        """The piece, defused; nothing is held back, however the text is cut."""
        if not piece:
            return ""
        gap = " " if self._ends_in_mark and piece[0] == "[" else ""
        self._ends_in_mark = piece[-1] == "!"
        return gap + piece.replace("![", "! [")
