"""A reasoning model's thoughts at the head of its text, `<think>…</think>`, left out while it streams. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OPENING: Final = "<think>"
CLOSING: Final = "</think>"


@dataclass(slots=True)
class ThoughtFilter:
    """One text's. Endpoints that send thoughts in a field of their own need none of this; others put them before the answer."""

    _held: str = ""
    _is_thinking: bool = False
    _is_through: bool = False

    def feed(self, piece: str) -> str:
        """The text that is no thought."""
        if self._is_through:
            return piece
        self._held += piece
        if not self._is_thinking:
            head = self._held.lstrip()
            if head.startswith(OPENING):
                self._is_thinking = True
            elif OPENING.startswith(head):
                return ""
            else:
                return self._release(self._held)
        _, closing, rest = self._held.partition(CLOSING)
        if closing:
            return self._release(rest)
        self._held = self._held[-len(CLOSING) :] if len(self._held) > len(OPENING) + len(CLOSING) else self._held
        return ""

    def finish(self) -> str:
        """The rest of it: thoughts that never ended are no answer."""
        return "" if self._is_thinking or self._is_through else self._release(self._held)

    def _release(self, text: str) -> str:
        self._is_through = True
        self._held = ""
        return text
