"""Chunks made into passages that read well: what one document says twice is shown once, neighbours are joined. Pure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import pairwise
from typing import Final

from query_api.answer.port import Passage
from schemas.index import DocKey

BYTES_PER_TOKEN: Final = 4
"""About: English has four letters to a token, other scripts fewer, but more bytes to a letter."""
SHARED_PAIRS: Final = 0.9
"""Of two near-duplicates: the share of the weaker one's pairs of words that the better one has too."""
JOINS_FROM: Final = 0.5
"""A neighbour with less than this share of a passage's score is left out: it was found by chance, and another wording of the
same question would not find it."""
TELLING: Final = 4
"""Words that are looked at first: the longest ones"""
BEGINNING: Final = 160
"""of the first so many characters. (The last of them may be cut off: what begins a word of a text is in that text too.)"""

_WORD: Final = re.compile(r"\w+")


def about_tokens(text: str) -> int:
    """How many tokens `text` has, roughly."""
    return -(-len(text.encode(errors="replace")) // BYTES_PER_TOKEN)


def readable(chunks: Sequence[Passage], text_of: Callable[[DocKey], str], max_tokens: int) -> list[Passage]:
    """Passages made of `chunks`, best first.

    Args:
        chunks: single chunks, best first, each row once, one version a document.
        text_of: a document's whole text.
        max_tokens: passages are joined up to about this size; a single chunk may be longer.

    Returns: every chunk is in one passage, but for those that say what a better one of their document says. A passage ranks as
    its best chunk does.
    """
    by_document: dict[DocKey, list[Passage]] = {}
    for chunk in chunks:
        by_document.setdefault(chunk.doc_key, []).append(chunk)
    rank = {chunk.row_id: place for place, chunk in enumerate(chunks)}
    passages: list[Passage] = []
    for key, found in by_document.items():
        passages += found if len(found) == 1 else _joined(_without_repetitions(found), text_of(key), max_tokens)
    return sorted(passages, key=lambda passage: rank[passage.row_id])


def _without_repetitions(chunks: Sequence[Passage]) -> list[Passage]:
    kept: list[tuple[Passage, Wording]] = []
    for chunk in chunks:
        wording = Wording(chunk.text)
        if not any(wording.says_the_same(better) for _, better in kept):
            kept.append((chunk, wording))
    return [chunk for chunk, _ in kept]


class Wording:
    """A text's words. Most texts are told apart by a few of them: the others are looked at where that doesn't do."""

    def __init__(self, text: str) -> None:
        self._folded = text.casefold()

    @cached_property
    def words(self) -> list[str]:
        return _WORD.findall(self._folded)

    @cached_property
    def different(self) -> frozenset[str]:
        return frozenset(self.words)

    @cached_property
    def _telling(self) -> list[str]:
        return heapq.nlargest(TELLING, _WORD.findall(self._folded[:BEGINNING]), key=len)

    def says_the_same(self, better: Wording) -> bool:
        """Whether this says nothing that a better text doesn't: every word is in it, and nearly every pair of neighbours.

        One other word is enough to be different: a number, a negation, an opposite.
        """
        if any(word not in better._folded for word in self._telling):
            return False
        if not self.different <= better.different:
            return False
        pairs, known = list(pairwise(self.words)), set(pairwise(better.words))
        return sum(pair in known for pair in pairs) >= SHARED_PAIRS * len(pairs)


def _joined(chunks: Sequence[Passage], text: str, max_tokens: int) -> list[Passage]:
    free = {chunk.chunk: chunk for chunk in chunks}
    passages = []
    for best in chunks:
        if best.chunk in free:
            passages.append(_grown(best, free, text, max_tokens))
    return passages


def _grown(best: Passage, free: dict[int, Passage], text: str, max_tokens: int) -> Passage:
    """`best` with its neighbours, the better ones first, as long as there is room. Takes them out of `free`."""
    taken = [free.pop(best.chunk)]
    while True:
        first, last = taken[0], taken[-1]
        sides = [side for side in (free.get(first.chunk - 1), free.get(last.chunk + 1)) if side is not None]
        fitting = [side for side in sides if side.score >= JOINS_FROM * best.score and _fits(side, first, last, text, max_tokens)]
        if not fitting:
            return _merged(best, taken, text)
        chosen = free.pop(max(fitting, key=lambda side: side.score).chunk)
        taken.insert(0 if chosen.chunk < first.chunk else len(taken), chosen)


def _fits(side: Passage, first: Passage, last: Passage, text: str, max_tokens: int) -> bool:
    return about_tokens(text[min(side.start, first.start) : max(side.end, last.end)]) <= max_tokens


def _merged(best: Passage, chunks: Sequence[Passage], text: str) -> Passage:
    if len(chunks) == 1:
        return best
    start, end = chunks[0].start, chunks[-1].end
    return replace(
        best,
        chunk=chunks[0].chunk,
        start=start,
        end=end,
        text=text[start:end],
        vector_score=_best(chunk.vector_score for chunk in chunks),
        keyword_score=_best(chunk.keyword_score for chunk in chunks),
        row_ids=tuple(chunk.row_id for chunk in chunks),
    )


def _best(scores: Iterable[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)
