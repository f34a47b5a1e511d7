"""Which neighbouring units share a chunk, decided by what is near: sizes, how strongly they are set apart, content.

No running fill from the start of the document: a change moves boundaries only where it is. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

from flows.chunking.blocks import BREAK_AFTER_HEADING, BREAK_HEADING_6

TokenIds: TypeAlias = "array[int]"


class Measure(NamedTuple):
    """How large a text is: its tokens, and these themselves where the tokenizer tells."""

    tokens: int
    ids: TokenIds | None = None


class Unit(NamedTuple):
    """A piece of text that stays whole.

    Attributes:
        size: of its text.
        key: a number drawn from the content, which decides between breaks that are otherwise equal.
    """

    start: int
    end: int
    size: Measure
    break_before: int
    key: int


class Sizes(NamedTuple):
    """How large chunks may be.

    Attributes:
        low: neighbours are joined only while one of them has fewer tokens than this.
        target: they are joined up to this many tokens while anything smaller can be had.
        high: no chunk has more tokens.
        max_chars: no chunk is longer, whatever its tokens: a tokenizer may take a very long word for one.
    """

    low: int
    target: int
    high: int
    max_chars: int


def group(units: Sequence[Unit], sizes: Sizes) -> Iterator[tuple[int, int]]:
    """Yield the runs of units, as [first, after), that make up a chunk each.

    1. Headings are joined to what follows them.
    2. Inside sections, then across them: two small neighbours are joined, then a small one to a larger, weakest break
       and smallest sum first, up to the target size.
    3. What is still small is joined up to the largest size.
    """
    runs = _Runs(units, sizes)
    breaks = sorted(range(1, len(units)), key=lambda i: _order(units[i - 1], units[i]))
    headings = [i for i in breaks if units[i].break_before == BREAK_AFTER_HEADING]
    inner = [i for i in breaks if BREAK_AFTER_HEADING < units[i].break_before < BREAK_HEADING_6]
    outer = [i for i in breaks if units[i].break_before >= BREAK_HEADING_6]
    low = sizes.low
    runs.join(headings, sizes.high, lambda a, b: a < low or b < low)  # 1
    for same_kind in (inner, outer):  # 2
        runs.join(same_kind, sizes.target, lambda a, b: a < low and b < low)
        runs.join(same_kind, sizes.target, lambda a, b: a < low or b < low)
    for same_kind in (inner, outer):  # 3
        runs.join(same_kind, sizes.high, lambda a, b: a < low or b < low)
    return runs.spans()


def _order(before: Unit, after: Unit) -> tuple[int, int, int]:
    return after.break_before, before.size.tokens + after.size.tokens, (before.key * 31 + after.key) & 0xFFFFFFFF


class _Runs:
    """Runs of joined units; a run's size and bounds are kept at its two ends, so that a join takes constant time."""

    def __init__(self, units: Sequence[Unit], sizes: Sizes) -> None:
        self._units = units
        self._max_chars = sizes.max_chars
        self._first = list(range(len(units)))  # right at the last unit of a run
        self._last = list(range(len(units)))  # right at the first unit of a run
        self._tokens = [unit.size.tokens for unit in units]  # right at the first unit of a run
        self._is_start = [True] * len(units)

    def join(self, breaks: Sequence[int], limit: int, wanted: Callable[[int, int], bool]) -> None:
        for i in breaks:
            if not self._is_start[i]:
                continue
            left, right = self._first[i - 1], self._last[i]
            a, b = self._tokens[left], self._tokens[i]
            if a + b > limit or not wanted(a, b) or self._units[right].end - self._units[left].start > self._max_chars:
                continue
            self._is_start[i] = False
            self._tokens[left] = a + b
            self._last[left], self._first[right] = right, left

    def spans(self) -> Iterator[tuple[int, int]]:
        first = 0
        while first < len(self._units):
            after = self._last[first] + 1
            yield first, after
            first = after
