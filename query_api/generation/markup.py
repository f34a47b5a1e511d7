"""What loads by itself in a model's text, made harmless while it streams: Markdown's pictures are links then, HTML's tags text.

A chat window fetches pictures, frames, styles and scripts without being asked, and their address can carry away what a passage
talked the model into telling. Nothing is removed: a gap after `!` or `<` is all that it takes, in code too, as what counts as
code is each window's own opinion. `Vec<u8>` and `<dependency>` stay as they are: a tag without attributes loads nothing. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

NAME_MAX: Final = 32
"""Characters of a tag's name; a longer one is not waited for."""

# A name ends at white space, `/` or `>`; after the first two attributes may follow. What stands in a script or a style is enough.
# `!` is in no tag's name that is in use, and a gap behind it would end the name.
_NAME: Final = r"[a-z][^\s/>!\x00]{0,%d}"
_PLAIN_TAG: Final = rf"(?!(?:script|style)>){_NAME % (NAME_MAX - 1)}>"
_LOADS: Final = re.compile(rf"!(?=\[)|<(?=[a-z])(?!{_PLAIN_TAG})", re.ASCII | re.IGNORECASE)
_UNDECIDED: Final = re.compile(rf"(?:!|<(?:{_NAME % (NAME_MAX - 1)})?)\Z", re.ASCII | re.IGNORECASE)


@dataclass(slots=True)
class MarkupFilter:
    """One text's. Feed it pieces, then finish it; what comes out doesn't depend on how the text was cut into pieces."""

    _held: str = ""

    def feed(self, piece: str) -> str:
        """The text that is settled now: all but the beginning of what may become a tag or a picture."""
        self._held += piece
        undecided = _UNDECIDED.search(self._held)
        return self._settled(undecided.start() if undecided else len(self._held))

    def finish(self) -> str:
        """The rest of it."""
        return self._settled(len(self._held))

    def _settled(self, end: int) -> str:
        out, begin = [], 0
        for match in _LOADS.finditer(self._held):
            if match.start() >= end:
                break
            out.append(self._held[begin : match.end()])
            begin = match.end()
        out.append(self._held[begin:end])
        self._held = self._held[end:]
        return " ".join(out)
