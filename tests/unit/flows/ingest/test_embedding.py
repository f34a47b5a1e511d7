"""The embedding stage encodes in rounds, and what a round has made is in the cache before the next one begins."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Sequence

import numpy as np
import pytest

from connectors.embedding import HashingEmbedder
from connectors.embedding.cache import MemoryCache
from connectors.embedding.port import Matrix, TokenIds
from connectors.milvus import MemoryVectorStore
from flows.ingest.embedding import EmbedStage
from flows.ingest.failpoints import FailPoints
from flows.ingest.lane import RowScalars, RowWrite, Work
from flows.ingest.patience import Patience
from schemas.index import DocKey


class Dying(HashingEmbedder):
    """Encodes a number of rounds, then dies."""

    def __init__(self, rounds: int) -> None:
        super().__init__(8)
        self.rounds = rounds
        self.sizes: list[int] = []
        self.known: dict[str, TokenIds | None] = {}

    def encode(self, texts: Sequence[str], known: Sequence[TokenIds | None] | None = None) -> Matrix:
        self.known |= zip(texts, known or (), strict=True)
        if len(self.sizes) == self.rounds:
            msg = "killed"
            raise KeyboardInterrupt(msg)
        self.sizes.append(len(texts))
        return super().encode(texts, known)


def stage(embedder: HashingEmbedder, cache: MemoryCache, round_chunks: int) -> EmbedStage:
    return EmbedStage(
        embedder,
        cache,
        MemoryVectorStore(),
        collection_of=str,
        round_chunks=round_chunks,
        patience=Patience(threading.Event(), 1.0),
        fail_points=FailPoints(None),
    )


def works(count: int) -> list[Work]:
    rows = [
        RowWrite(f"r{n}", f"d{n}", DocKey("docs", "x"), RowScalars((), None), f"text {n}", tokens=n % 7) for n in range(count)
    ]
    return [Work(0, None, None, rows=rows)]


def test_a_death_loses_no_more_than_a_round() -> None:
    """The next life finds the finished rounds in the cache."""
    cache, todo = MemoryCache(1 << 20), works(25)
    with pytest.raises(KeyboardInterrupt):
        stage(Dying(2), cache, 10).process(todo)
    after = Dying(9)
    stage(after, cache, 10).process(works(25))
    assert after.sizes == [5]


def test_rows_get_the_vectors_of_their_own_texts() -> None:
    """Whatever the order in which they were encoded."""
    embedder, todo = Dying(9), works(25)
    stage(embedder, MemoryCache(1 << 20), 10).process(todo)
    assert embedder.sizes == [10, 10, 5]
    expected = HashingEmbedder(8).encode([f"text {n}" for n in range(25)])
    found = [row.vector for row in todo[0].rows]
    assert np.allclose(np.array(found), expected)


def test_the_encoder_is_given_the_ids_of_each_text() -> None:
    """Those that the chunker knew, beside the text that they are of, in whatever order rows are encoded."""
    embedder, todo = Dying(9), works(25)
    for n, row in enumerate(todo[0].rows):
        row.token_ids = array("H", [n]) if n % 3 else None
    stage(embedder, MemoryCache(1 << 20), 10).process(todo)
    assert embedder.known == {f"text {n}": array("H", [n]) if n % 3 else None for n in range(25)}
