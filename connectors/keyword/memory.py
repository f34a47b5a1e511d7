"""A keyword index in memory: plain BM25, for tests and for trying things out. Linear in the postings of a query's terms."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from connectors.keyword.analysis import CONTEXT_BOOST, TITLE_BOOST, indexed_text, query_terms, terms_of
from connectors.keyword.port import KeywordHit, KeywordPassage
from schemas.index import DocKey

K1: Final = 1.2
B: Final = 0.75


class _Row(NamedTuple):
    key: DocKey
    row_id: str


@dataclass(slots=True)
class _Field:
    """Postings and lengths of one field."""

    postings: dict[str, dict[_Row, int]] = field(default_factory=dict)
    lengths: dict[_Row, int] = field(default_factory=dict)

    def add(self, row: _Row, terms: list[str]) -> None:
        self.lengths[row] = len(terms)
        for term, count in Counter(terms).items():
            self.postings.setdefault(term, {})[row] = count

    def discard(self, row: _Row) -> None:
        self.lengths.pop(row, None)
        for rows in self.postings.values():
            rows.pop(row, None)

    def scores(self, term: str) -> Iterator[tuple[_Row, float]]:
        rows = self.postings.get(term, {})
        total = len(self.lengths)
        idf = math.log(1 + (total - len(rows) + 0.5) / (len(rows) + 0.5))
        average = sum(self.lengths.values()) / total if total else 1.0
        for row, count in rows.items():
            damping = K1 * (1 - B + B * self.lengths[row] / (average or 1.0))
            yield row, idf * count * (K1 + 1) / (count + damping)


class MemoryKeywordIndex:
    """Implements `KeywordIndex`. Nothing outlives `close`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[DocKey, Sequence[KeywordPassage]] = {}
        self._rows: dict[DocKey, list[_Row]] = {}
        self._text = _Field()
        self._title = _Field()
        self._context = _Field()

    @property
    def is_fresh(self) -> bool:
        return True

    def replace(self, key: DocKey, passages: Sequence[KeywordPassage]) -> None:
        self._pending[key] = tuple(passages)

    def remove(self, key: DocKey) -> None:
        self._pending[key] = ()

    def clear(self) -> None:
        self._pending = dict.fromkeys((*self._rows, *self._pending), ())

    def commit(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, {}
            for key, passages in pending.items():
                self._put(key, passages)

    def search(self, query: str, limit: int, indexes: Collection[str] = ()) -> list[KeywordHit]:
        wanted = frozenset(indexes)
        with self._lock:
            hits = [hit for hit in self._scored(query) if not wanted or hit.key.index in wanted]
        return _best(hits, limit)

    def search_within(self, query: str, limit: int, keys: Collection[DocKey]) -> list[KeywordHit]:
        wanted = frozenset(keys)
        with self._lock:
            hits = [hit for hit in self._scored(query) if hit.key in wanted]
        return _best(hits, limit)

    def close(self) -> None:
        with self._lock:
            self._pending.clear()

    def _put(self, key: DocKey, passages: Sequence[KeywordPassage]) -> None:
        for row in self._rows.pop(key, ()):
            for each in (self._text, self._title, self._context):
                each.discard(row)
        for passage in passages:
            row = _Row(key, passage.row_id)
            self._text.add(row, terms_of(indexed_text(passage.title, passage.text)))
            self._title.add(row, terms_of(passage.title))
            self._context.add(row, terms_of(passage.surroundings))
            self._rows.setdefault(key, []).append(row)

    def _scored(self, query: str) -> list[KeywordHit]:
        totals: dict[_Row, float] = {}
        for term in query_terms(query, lambda term: len(self._text.postings.get(term, ()))):
            for each, boost in ((self._text, 1.0), (self._title, TITLE_BOOST), (self._context, CONTEXT_BOOST)):
                for row, score in each.scores(term):
                    totals[row] = totals.get(row, 0.0) + boost * score
        return [KeywordHit(row.row_id, row.key, score) for row, score in totals.items()]


def _best(hits: list[KeywordHit], limit: int) -> list[KeywordHit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.row_id))[: max(0, limit)]
