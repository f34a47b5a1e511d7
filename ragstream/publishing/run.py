"""Publishes a stream of changes in batches, and keeps account of it. Holds one batch, whatever the stream's length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

from connectors.kafka import OutRecord
from ragstream.publishing.files import too_large
from ragstream.publishing.options import Change, Problem
from ragstream.publishing.sink import Place, Sink, to_record
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.index import DocKey
from schemas.settings import MIB
from schemas.tokens import WriteToken

BATCH_RECORDS: Final = 300
BATCH_BYTES: Final = 2 * MIB  # an embedded encoder on an old processor takes a minute or two for its text
MAX_PROBLEMS_KEPT: Final = 1_000


@dataclass(slots=True)
class Summary:
    """What was published so far.

    Attributes:
        ops: changes by what they do. nbytes: of their keys and values.
        problems: the first ones; `problem_count` counts all. skipped: files passed over, by suffix.
        without_acl: upserts that say nothing about who may read.
        tokens: by partition the last change's read-your-writes token: a partition is reflected in order.
    """

    published: int = 0
    nbytes: int = 0
    ops: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)
    problem_count: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    without_acl: int = 0
    tokens: dict[int, WriteToken] = field(default_factory=dict)

    def note(self, problem: Problem) -> None:
        if problem.is_skip:
            self.skipped[PurePath(problem.where).suffix.lower() or "(none)"] += 1
            return
        self.problem_count += 1
        if len(self.problems) < MAX_PROBLEMS_KEPT:
            self.problems.append(problem)


class Publisher:
    """Feeds changes to a sink.

    Args:
        on_step: called with the summary after every batch and every problem.
        log_id: identity of the log, for tokens; None: none are made.
    """

    def __init__(
        self,
        sink: Sink,
        topic: str,
        on_step: Callable[[Summary, Problem | None], None] | None = None,
        log_id: str | None = None,
    ) -> None:
        self.summary = Summary()
        self._sink = sink
        self._topic = topic
        self._on_step = on_step
        self._log_id = log_id
        self._batch: list[tuple[DocumentChange, OutRecord]] = []
        self._batch_bytes = 0

    def publish(self, changes: Iterable[Change], *, strict: bool = False) -> Summary:
        """Send them all, in order; problems are noted and passed over. Blocks as the sink does.

        Raises: Retryable and others of the sink; Rejected at the first problem, when `strict` (what came before is sent).
        """
        for change in changes:
            if isinstance(change, Problem):
                self._note(change)
                if strict and not change.is_skip:
                    self._flush()
                    raise Rejected(change.reason, f"{change.where}: {change.detail}")
            else:
                self._take(change)
        self._flush()
        return self.summary

    def _take(self, change: DocumentChange) -> None:
        record = to_record(change, self._topic)
        size = _size(record)
        if size > self._sink.max_event_bytes:
            self._note(too_large(change.doc_id, self._sink.max_event_bytes))
            return
        self._batch.append((change, record))
        self._batch_bytes += size
        if len(self._batch) >= BATCH_RECORDS or self._batch_bytes >= BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        try:
            places = self._sink.send([record for _, record in batch])
        except Rejected:
            self._send_one_by_one(batch)
        else:
            for (change, record), place in zip(batch, places, strict=True):
                self._count(change, record, place)
        self._step(None)

    def _send_one_by_one(self, batch: list[tuple[DocumentChange, OutRecord]]) -> None:
        """One of them was refused; the others are sent again, which changes nothing where they had been taken."""
        for change, record in batch:
            try:
                (place,) = self._sink.send([record])
            except Rejected as exc:
                self._note(Problem(change.doc_id, exc.reason, exc.detail))
            else:
                self._count(change, record, place)

    def _count(self, change: DocumentChange, record: OutRecord, place: Place) -> None:
        summary = self.summary
        summary.published += 1
        summary.nbytes += _size(record)
        summary.ops[change.op] += 1
        summary.without_acl += change.op == "upsert" and change.acl is None
        if self._log_id is not None:
            partition, offset = place
            summary.tokens[partition] = WriteToken(self._log_id, partition, offset, DocKey(change.index, change.doc_id))

    def _note(self, problem: Problem) -> None:
        self.summary.note(problem)
        self._step(problem)

    def _step(self, problem: Problem | None) -> None:
        if self._on_step is not None:
            self._on_step(self.summary, problem)


def _size(record: OutRecord) -> int:
    return len(record.key or b"") + len(record.value or b"")
