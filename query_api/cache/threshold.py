"""The likeness that a hit needs: it rises by itself when measured hits are wrong too often, and comes back slowly. Pure."""

from __future__ import annotations

import math
import threading
from collections import deque
from typing import Final, NamedTuple

WINDOW: Final = 1_000
"""Comparisons that count. Older ones speak of other questions and another corpus."""
Z: Final = 1.96
"""Of two-sided 95 % bounds."""
STEP: Final = 0.01
"""By how much the threshold rises at least."""
FALL: Final = 0.005
HIGHEST: Final = 1.0
"""Nothing but the very same words reaches it."""


class Bounds(NamedTuple):
    """A measured share with its 95 % bounds."""

    share: float
    low: float
    high: float


class Compared(NamedTuple):
    """A hit that was answered afresh."""

    likeness: float
    is_right: bool


def bounds(wrong: int, count: int) -> Bounds:
    """By Wilson's score interval; of nothing it is (0, 0, 1)."""
    if not count:
        return Bounds(0.0, 0.0, 1.0)
    share = wrong / count
    scale = 1 + Z * Z / count
    middle = (share + Z * Z / (2 * count)) / scale
    half = Z / scale * math.sqrt(share * (1 - share) / count + Z * Z / (4 * count * count))
    low = 0.0 if not wrong else max(0.0, middle - half)
    return Bounds(share, low, 1.0 if wrong == count else min(1.0, middle + half))


class ThresholdGuard:
    """Holds the threshold between the configured floor and 1. Thread-safe.

    It rises when the *lower* bound of the error exceeds what is tolerated: the measurement must show that it is too much, or a
    single unlucky comparison of a new worker would switch the cache off. It falls when the *upper* bound of what was compared
    since the last move is within what is tolerated: the measurement must show that it is little. In between it stays.
    """

    def __init__(self, floor: float, tolerated_error: float) -> None:
        self._floor = floor
        self._tolerated = tolerated_error
        self._lock = threading.Lock()
        self._window: deque[Compared] = deque(maxlen=WINDOW)
        self._since = 0
        self._threshold = floor

    @property
    def threshold(self) -> float:
        return self._threshold

    def error(self) -> Bounds:
        """Of the hits that the threshold of now lets through."""
        with self._lock:
            return _error(self._counting())

    def compared(self, likeness: float, *, is_right: bool) -> float:
        """Take in a comparison; the threshold after it."""
        with self._lock:
            self._window.append(Compared(likeness, is_right))
            self._since += 1
            counting = self._counting()
            if _error(counting).low > self._tolerated:
                self._rise(counting)
            elif self._threshold > self._floor and _error(self._latest()).high <= self._tolerated:
                self._threshold = max(self._floor, self._threshold - FALL)
                self._since = 0
            return self._threshold

    def _rise(self, counting: list[Compared]) -> None:
        """To the lowest level above which the window's hits were right often enough, one step at least."""
        levels = sorted({one.likeness for one in counting if one.likeness >= self._threshold + STEP})
        enough = (
            level for level in levels if _error([one for one in counting if one.likeness >= level]).share <= self._tolerated
        )
        self._threshold = min(HIGHEST, next(enough, self._threshold + STEP))
        self._since = 0

    def _counting(self) -> list[Compared]:
        return [one for one in self._window if one.likeness >= self._threshold]

    def _latest(self) -> list[Compared]:
        """Compared since the threshold last moved: a fall needs evidence of its own, each time."""
        recent = list(self._window)[-self._since :] if self._since else []
        return [one for one in recent if one.likeness >= self._threshold]


def _error(compared: list[Compared]) -> Bounds:
    return bounds(sum(not one.is_right for one in compared), len(compared))
