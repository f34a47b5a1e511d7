"""The remembered answers of this process, and the rule by which one is used again.

Search begins with the evidence: only answers whose prompt held every passage that would go into the prompt now are looked
at. So nobody's question about a passage that this caller may not read is ever compared with this caller's.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.embedding.port import Vector
from query_api.answer.port import Draft
from query_api.cache.entry import Entry, Lookup, bar_key, made_of
from query_api.cache.evidence import Evidence, rows_of
from query_api.cache.wording import conflict_between
from schemas.queries import CacheVerdict

LOOKED_AT: Final = 16
"""Nearest answers that are tried one after the other; an operator's question asked in a thousand ways needs no more."""
CONSIDERED: Final = 1_000
"""Newest answers on the same evidence that are compared at all: a passage that everyone asks about must not cost everyone."""
BARS_PER_ENTRY: Final = 4
"""Barred answers are small: this many times `max_entries` are kept in mind."""

Stands = Callable[[Sequence[Evidence]], bool]
"""Whether all of it is current (same rows, title and text), unexpired and readable by this caller, on one snapshot."""


class Verdict(NamedTuple):
    """Whether a remembered answer may be used, and why not.

    Attributes:
        entry: the answer; None: answer afresh.
        code: `hit`; `no_evidence`: nothing goes into the prompt; `no_entry`: no remembered answer that this caller may be told of
            rests on these passages; `not_alike`; `wording`.
        similarity: of the nearest question that was looked at; threshold: what it had to reach.
        nearest: the remembered question; for operators only, it is somebody else's text.
        withheld: for operators and metrics only: `evidence_withdrawn` where an answer was near but its evidence doesn't stand for
            this caller. To the caller it is as if there were none.
    """

    entry: Entry | None
    code: CacheVerdict
    similarity: float | None = None
    threshold: float | None = None
    detail: str = ""
    nearest: str = ""
    withheld: str = ""

    @property
    def is_hit(self) -> bool:
        return self.entry is not None


class _Near(NamedTuple):
    likeness: float
    conflict: str
    entry: Entry


class AnswerCache:
    """Bounded; least recently used leave first, all leave after `ttl_s`. Thread-safe; nothing here waits for anything.

    Args:
        threshold: the cosine that a hit needs, asked anew each time: it moves.
        on_entry, on_bar: are given each new entry, and each bar with its end, to share with other workers. They must not wait.
        now_ms: the wall clock; entries of other workers carry their age by it.
    """

    def __init__(
        self,
        *,
        max_entries: int,
        ttl_s: float,
        barred_ttl_s: float,
        threshold: Callable[[], float],
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        on_entry: Callable[[Entry], None] = lambda _: None,
        on_bar: Callable[[str, int], None] = lambda _key, _until_ms: None,
    ) -> None:
        self._max = max_entries
        self._ttl_ms = round(ttl_s * 1000)
        self._barred_ttl_ms = round(barred_ttl_s * 1000)
        self._threshold = threshold
        self._now_ms = now_ms
        self.on_entry = on_entry
        self.on_bar = on_bar
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._by_row: dict[str, dict[str, None]] = {}
        self._slots = _Slots()
        self._barred: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    # -- looking up

    def find(self, lookup: Lookup, stands: Stands) -> Verdict:
        """The best remembered answer that passes every condition, or why there is none. Takes microseconds to a millisecond."""
        threshold = self._threshold()
        if not lookup.evidence:
            return Verdict(None, "no_evidence", threshold=threshold, detail="nothing would go into the prompt")
        near = self._near(lookup)
        withheld = ""
        refused: _Near | None = None
        for one in near:
            if one.likeness < threshold or one.conflict:
                refused = refused or (one if stands(one.entry.evidence) else None)
                continue
            if not stands(one.entry.evidence):
                withheld = "evidence_withdrawn"
                continue
            self._use(one.entry)
            return Verdict(one.entry, "hit", one.likeness, threshold, nearest=one.entry.question)
        return _refusal(refused, threshold, withheld)

    def age_s(self, entry: Entry) -> float:
        return max(0, self._now_ms() - entry.created_ms) / 1000

    def _near(self, lookup: Lookup) -> list[_Near]:
        """The nearest answers of this scope whose evidence holds all of the lookup's, the most alike first."""
        rows = rows_of(lookup.evidence)
        oldest = self._now_ms() - self._ttl_ms
        with self._lock:
            held = sorted((self._by_row.get(row, {}) for row in rows), key=len)
            fitting = (one for one in reversed(held[0]) if all(one in other for other in held[1:]))
            ids = list(islice(fitting, CONSIDERED))
            fits = [self._entries[one] for one in ids]
            fits = [one for one in fits if one.scope == lookup.scope and one.created_ms > oldest]
            cosines = self._slots.cosines(lookup.vector, [one.id for one in fits])
        best = np.argsort(-cosines, kind="stable")[:LOOKED_AT]
        return [_compared(lookup, fits[place], float(cosines[place])) for place in best]

    def _use(self, entry: Entry) -> None:
        with self._lock:
            if entry.id in self._entries:
                self._entries.move_to_end(entry.id)

    # -- remembering

    def remember(self, lookup: Lookup, draft: Draft) -> str | None:
        """Keep the answer; its id, or None for a draft that must not be used twice or was barred."""
        entry = made_of(lookup, draft, self._now_ms())
        if entry is None or not self.take_in(entry):
            return None
        self.on_entry(entry)
        return entry.id

    def take_in(self, entry: Entry) -> bool:
        """Keep an answer that this or another worker made, unless it is barred or too old."""
        with self._lock:
            now_ms = self._now_ms()
            if entry.created_ms <= now_ms - self._ttl_ms or self._is_barred(entry.bar_key, now_ms):
                return False
            if not self._slots.fits(entry.vector):
                self._shrink(now_ms)  # what is in its way may be too old
                if not self._slots.fits(entry.vector):
                    return False
            self._remove(entry.id)
            self._entries[entry.id] = entry
            self._slots.put(entry.id, entry.vector)
            for row in rows_of(entry.evidence):
                self._by_row.setdefault(row, {})[entry.id] = None
            self._shrink(now_ms)
            return entry.id in self._entries

    def has(self, entry: Entry) -> bool:
        """Whether this very answer, or a newer one to the same question, is remembered."""
        known = self._entries.get(entry.id)
        return known is not None and known.created_ms >= entry.created_ms

    def bar(self, entry_id: str) -> None:
        """A thumbs-down: the answer goes, and the same question on the same evidence is not remembered again for a while."""
        until_ms = self._now_ms() + self._barred_ttl_ms
        self.take_in_bar(bar_key(entry_id), until_ms)
        self.on_bar(bar_key(entry_id), until_ms)

    def take_in_bar(self, key: str, until_ms: int) -> None:
        """A bar that this or another worker made."""
        with self._lock:
            self._barred[key] = max(until_ms, self._barred.pop(key, 0))
            while len(self._barred) > BARS_PER_ENTRY * self._max:
                self._barred.popitem(last=False)
            for one in [one for one in self._entries if bar_key(one) == key]:
                self._remove(one)

    def is_barred(self, lookup: Lookup) -> bool:
        with self._lock:
            return self._is_barred(bar_key(lookup.entry_id), self._now_ms())

    def _is_barred(self, key: str, now_ms: int) -> bool:
        until_ms = self._barred.get(key)
        if until_ms is not None and until_ms <= now_ms:
            del self._barred[key]
            return False
        return until_ms is not None

    def _shrink(self, now_ms: int) -> None:
        while len(self._entries) > self._max:
            self._remove(next(iter(self._entries)))
        # Whoever was used last is at the end; what is at the front and too old goes as new ones come.
        while self._entries and (first := next(iter(self._entries.values()))).created_ms <= now_ms - self._ttl_ms:
            self._remove(first.id)

    def _remove(self, entry_id: str) -> None:
        entry = self._entries.pop(entry_id, None)
        if entry is None:
            return
        self._slots.drop(entry_id)
        for row in rows_of(entry.evidence):
            held = self._by_row[row]
            del held[entry_id]
            if not held:
                del self._by_row[row]


class _Slots:
    """Vectors by entry in one matrix, so that many are compared at once."""

    def __init__(self) -> None:
        self._matrix: NDArray[np.float32] | None = None
        self._slot: dict[str, int] = {}
        self._free: list[int] = []

    def fits(self, vector: Vector) -> bool:
        """Whether it is of the others' dimension."""
        return self._matrix is None or vector.shape == (self._matrix.shape[1],)

    def put(self, name: str, vector: Vector) -> None:
        if self._matrix is None:
            self._matrix = np.zeros((64, vector.size), np.float32)
            self._free = list(range(64))
        if not self._free:
            size = len(self._matrix)
            self._matrix = np.vstack([self._matrix, np.zeros_like(self._matrix)])
            self._free = list(range(size, 2 * size))
        slot = self._slot[name] = self._free.pop()
        self._matrix[slot] = vector

    def drop(self, name: str) -> None:
        """Once empty it begins anew: with the next vector's dimension, and without the room that a crowd took."""
        self._free.append(self._slot.pop(name))
        if not self._slot:
            self._matrix, self._free = None, []

    def cosines(self, vector: Vector, names: Sequence[str]) -> NDArray[np.float32]:
        """One figure a name. A vector of another dimension is like none."""
        if self._matrix is None or not names or not self.fits(vector):
            return np.full(len(names), -1.0, np.float32)
        slots = [self._slot[name] for name in names]
        # Gathering rows costs more than multiplying them all, once they are many.
        if len(slots) * 4 > len(self._matrix):
            found: NDArray[np.float32] = (self._matrix @ vector)[slots]
        else:
            found = self._matrix[slots] @ vector
        return found


def _compared(lookup: Lookup, entry: Entry, similarity: float) -> _Near:
    return _Near(similarity, conflict_between(lookup.question, entry.question), entry)


def _refusal(refused: _Near | None, threshold: float, withheld: str) -> Verdict:
    if refused is None:
        detail = "no remembered answer rests on these passages"
        return Verdict(None, "no_entry", threshold=threshold, detail=detail, withheld=withheld)
    code: CacheVerdict = "wording" if refused.conflict else "not_alike"
    detail = f"the wording differs: {refused.conflict}" if refused.conflict else "the nearest question is another one"
    return Verdict(None, code, refused.likeness, threshold, detail, refused.entry.question, withheld)
