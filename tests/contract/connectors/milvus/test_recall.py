"""Callers who may read little find what they may read, right after it was written, on every server."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.milvus import Row, VectorStore
from connectors.milvus.sealing import SEAL_ROWS
from tests.contract.connectors.milvus.rows import NOW_MS

DIMENSION = 64
# Enough for two growing segments: beyond 4,992 rows in one, Milvus searches them by an index that misses most.
ROWS = 2 * SEAL_ROWS + 1000
QUERIES = 25
READABLE = {"group:all": 1, "group:tenth": 10, "group:hundredth": 100}
SEARCH_TIMEOUT_S = 10.0
pytestmark = pytest.mark.timeout(90)


@pytest.fixture(scope="module")
def vectors() -> NDArray[np.float32]:
    """Directions without any structure: the hardest for an index."""
    made = np.random.default_rng(5).normal(size=(ROWS + QUERIES, DIMENSION)).astype(np.float32)
    return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture
def filled(store: VectorStore, unique_name: str, vectors: NDArray[np.float32]) -> Iterator[str]:
    """A collection of rows that every, every tenth, every hundredth caller may read."""
    store.ensure(unique_name, DIMENSION)
    for start in range(0, ROWS, 500):
        mark = store.upsert(unique_name, [row_of(number, vectors[number]) for number in range(start, min(start + 500, ROWS))])
    store.wait_visible(unique_name, mark, SEARCH_TIMEOUT_S)
    yield unique_name
    store.drop(unique_name)


def row_of(number: int, vector: NDArray[np.float32]) -> Row:
    allow = tuple(name for name, share in READABLE.items() if number % share == 0)
    return Row(f"{number:032x}", vector, f"docs/{number}", allow, 0)


def test_whoever_may_read_little_finds_it(store: VectorStore, filled: str, vectors: NDArray[np.float32]) -> None:
    """Recall against an exact search is at least 0.95 for callers who read 100 %, 10 % and 1 %, for 10 and 100 hits."""
    queries, rows = vectors[ROWS:], vectors[:ROWS]
    assert sorted(store.row_ids(filled)) == [f"{number:032x}" for number in range(ROWS)]
    for name, share in READABLE.items():
        for limit in (10, 100):
            recalls = []
            for query in queries:
                scores = rows[::share] @ query
                best = {f"{place * share:032x}" for place in np.argsort(-scores)[:limit]}
                hits = store.search(filled, query, limit, frozenset({name}), NOW_MS, SEARCH_TIMEOUT_S)
                recalls.append(len(best & {hit.row_id for hit in hits}) / len(best))
            assert np.mean(recalls) >= 0.95, f"{name}, {limit} hits, {type(store).__name__}: {np.mean(recalls):.3f}"
