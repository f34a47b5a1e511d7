"""One deadline per query, on a monotonic clock; every wait takes what is left of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on `clock` after which nobody waits for the answer any more."""

    at: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> Self:
        return cls(clock() + seconds, clock)

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
