"""One deadline per query, on a monotonic clock; every wait takes what is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

ALLOWED: Final = "a question is worked on for {:g} s at most, however long its asker waits (RAG_QUERY__DEADLINE_S)"
OWN: Final = "the request said until when: give it more time"


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on `clock` after which nobody waits for the answer any more.

    Attributes:
        whose: who set it, and what to do where it is too soon; empty: not known.
    """

    at: float
    clock: Callable[[], float] = time.monotonic
    whose: str = ""

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        return cls(clock() + seconds, clock)

    @classmethod
    def of_request(cls, began: float, allowed_s: float, own_s: float | None, clock: Callable[[], float] = time.monotonic) -> Self:
        """The sooner of what settings allow and what the request asks for: a request only shortens, and is told which it was."""
        if own_s is not None and own_s < allowed_s:
            return cls(began + own_s, clock, OWN)
        return cls(began + allowed_s, clock, ALLOWED.format(allowed_s))

    def missed(self, what: str) -> str:
        """What to tell the asker: `what` happened, whose deadline it was, and what can be done about it."""
        return f"{what}; {self.whose}" if self.whose else what

    @property
    def remaining_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at - self.clock())

    @property
    def has_passed(self) -> bool:
        return self.clock() >= self.at

    def within(self, limit_s: float) -> float:
        """Seconds that one step may take: what is left, but at most `limit_s`."""
        return min(limit_s, self.remaining_s)
