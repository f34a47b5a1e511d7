"""The embedding stage: a vector for every row that is to be written, from wherever it is cheapest.

Rows of the last revision are carried forward and never come here. The rest: the batch itself, the embedding cache,
and for rows that exist and only change their scalars, the vector store; what remains is encoded, in one call a round.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import structlog

from connectors.embedding import Embedder, EmbeddingCache
from connectors.milvus import VectorStore
from flows.ingest import metrics
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import RowWrite, Work
from flows.ingest.patience import Patience
from schemas.errors import Retryable

IDLE_S = 60.0
RECENT = 2_048
"""Vectors kept in memory: those of rows that are on their way to the store must be found by a change of their scalars."""
MISSING_ROWS_PATIENCE_S = 30.0

log = structlog.get_logger(__name__)


class EmbedStage:
    """First stage of the pipeline: sets `vector` of every row."""

    def __init__(
        self,
        embedder: Embedder,
        cache: EmbeddingCache,
        store: VectorStore,
        *,
        collection_of: Callable[[str], str],
        round_chunks: int,
        patience: Patience,
        fail_points: FailPoints,
    ) -> None:
        self._round_chunks = round_chunks
        self._embedder = embedder
        self._cache = cache
        self._store = store
        self._collection_of = collection_of
        self._patience = patience
        self._fail_points = fail_points
        self._recent: OrderedDict[str, np.ndarray] = OrderedDict()

    def process(self, works: list[Work]) -> None:
        rows = [row for work in works for row in work.rows]
        metrics.CHUNKS.labels("revision").inc(sum(work.reused_rows for work in works))
        if not rows:
            return
        known = self._known(rows)
        fresh = self._encode({row.digest: row for row in rows if row.text is not None and row.digest not in known})
        self._remember(fresh)
        for row in rows:
            row.vector = known.get(row.digest, fresh.get(row.digest))
        scalars_only = [row for row in rows if row.vector is None]
        if scalars_only:
            self._fill_from_store(scalars_only)
        self._fail_points.reach("embedded")

    def idle(self) -> float:
        return IDLE_S

    def _known(self, rows: list[RowWrite]) -> dict[str, np.ndarray]:
        digests = dict.fromkeys(row.digest for row in rows)
        recent = {digest: self._recent[digest] for digest in digests if digest in self._recent}
        cached = self._cache.get_many([digest for digest in digests if digest not in recent])
        known = {**recent, **cached}
        metrics.CHUNKS.labels("cache").inc(sum(1 for row in rows if row.text is not None and row.digest in known))
        return known

    def _encode(self, rows: Mapping[str, RowWrite]) -> dict[str, np.ndarray]:
        """In rounds of even lengths, each in the cache before the next begins: a kill costs one of them."""
        fresh: dict[str, np.ndarray] = {}
        waiting = sorted(rows.values(), key=lambda row: -row.tokens)
        for start in range(0, len(waiting), self._round_chunks):
            fresh |= self._encode_round(waiting[start : start + self._round_chunks])
        return fresh

    def _encode_round(self, rows: Sequence[RowWrite]) -> dict[str, np.ndarray]:
        with metrics.EMBED_SECONDS.time():
            matrix = self._embedder.encode([row.text or "" for row in rows], [row.token_ids for row in rows])
        fresh = dict(zip([row.digest for row in rows], matrix, strict=True))
        self._cache.put_many(fresh)
        metrics.CHUNKS.labels("encoder").inc(len(fresh))
        log.debug("encoded", chunks=len(fresh))
        metrics.TOKENS_EMBEDDED.inc(sum(row.tokens for row in rows))
        return fresh

    def _remember(self, fresh: Mapping[str, np.ndarray]) -> None:
        self._recent.update(fresh)
        while len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def _fill_from_store(self, rows: list[RowWrite]) -> None:
        """Vectors of rows that exist and are only to get new scalars, where no cache has them any more."""
        by_collection: dict[str, list[RowWrite]] = {}
        for row in rows:
            by_collection.setdefault(self._collection_of(row.key.index), []).append(row)
        for collection, members in by_collection.items():
            patient_until = time.monotonic() + MISSING_ROWS_PATIENCE_S
            self._patience.insist("Milvus", partial(self._fill, collection, members, patient_until))

    def _fill(self, collection: str, rows: list[RowWrite], patient_until: float) -> None:
        vectors = self._store.vectors(collection, [row.row_id for row in rows])
        for row in rows:
            row.vector = vectors.get(row.row_id)
        missing = sum(1 for row in rows if row.vector is None)
        if missing and time.monotonic() < patient_until:
            msg = f"{missing} rows are not in {collection} yet"
            raise Retryable(msg)  # on their way in the publishing stage
        if missing:
            log.error("rows are missing in the vector store: index into a new generation", collection=collection, rows=missing)
