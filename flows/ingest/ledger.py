"""A partition's books: where the lane stands and what became of every offset before. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from flows.ingest.accounting import runs_of
from flows.ingest.lane import Work
from schemas.index import Progress


@dataclass(slots=True)
class Ledger:
    """Makes the progress marker that commits together with a batch.

    Args:
        partition: of rag.documents.
        origin, next: first offset ever processed, and the first one not yet published.
    """

    partition: int
    origin: int
    next: int
    model: str
    chunker: str
    log_id: str
    totals: Counter[str] = field(default_factory=Counter)

    def covers(self, works: Sequence[Work]) -> bool:
        """Whether `works` hold nothing to write down: no event, no record and no progress."""
        return all(w.outcome is None and not w.records and w.position <= self.next for w in works)

    def enter(self, works: Sequence[Work], now_ms: int) -> Progress:
        """The marker after `works`. Changes nothing: call `turn` once it is committed."""
        outcomes = [(w.source.offset, w.outcome) for w in works if w.source is not None and w.outcome is not None]
        totals = self.totals + Counter(str(outcome) for _, outcome in outcomes)
        return Progress(
            partition=self.partition,
            origin=self.origin,
            start=self.next,
            next=max([self.next, *(w.position for w in works)]),
            runs=runs_of(outcomes),
            totals=dict(totals),
            model=self.model,
            chunker=self.chunker,
            log_id=self.log_id,
            written_at_ms=now_ms,
        )

    def turn(self, marker: Progress) -> None:
        """`marker` is committed."""
        self.next = marker.next
        self.totals = Counter(marker.totals)
