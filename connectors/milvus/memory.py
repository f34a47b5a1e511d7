"""A vector store in memory that searches exactly: for tests, and the measure the real one is held against."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence

import numpy as np

from connectors.milvus.port import NEVER, Hit, Row, Vector, VectorStore, WriteMark, other_dimension
from connectors.milvus.ranking import rank
from schemas.acl import is_principal
from schemas.errors import Fatal, Misconfigured


class MemoryVectorStore(VectorStore):
    """Every write is visible at once; gone with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._dimensions: dict[str, int] = {}
        self._rows: dict[str, dict[str, Row]] = {}

    def ensure(self, collection: str, dimension: int) -> None:
        with self._lock:
            present = self._dimensions.setdefault(collection, dimension)
            self._rows.setdefault(collection, {})
        if present != dimension:
            raise Misconfigured(other_dimension(collection, present, dimension))

    def upsert(self, collection: str, rows: Sequence[Row]) -> WriteMark:
        with self._lock:
            present = self._of(collection)
            for row in rows:
                if len(row.vector) != self._dimensions[collection]:
                    msg = f"{collection} takes {self._dimensions[collection]} dimensions, row {row.row_id} has {len(row.vector)}"
                    raise Fatal(msg)
                present[row.row_id] = row
        return WriteMark(0)

    def wait_visible(self, collection: str, mark: WriteMark, timeout_s: float) -> None:
        return

    def delete(self, collection: str, row_ids: Sequence[str]) -> None:
        with self._lock:
            present = self._of(collection)
            for row_id in row_ids:
                present.pop(row_id, None)

    def vectors(self, collection: str, row_ids: Sequence[str]) -> dict[str, Vector]:
        with self._lock:
            present = self._of(collection)
            return {row_id: present[row_id].vector for row_id in row_ids if row_id in present}

    def row_ids(self, collection: str) -> Iterator[str]:
        with self._lock:
            ids = list(self._of(collection))
        return iter(ids)

    def count(self, collection: str) -> int:
        with self._lock:
            return len(self._of(collection))

    def search(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        principals: Collection[str] | None,
        now_ms: int,
        timeout_s: float,
    ) -> list[Hit]:
        names = None if principals is None else {name for name in principals if is_principal(name)}
        with self._lock:
            rows = [row for row in self._of(collection).values() if row.expires_at_ms == NEVER or row.expires_at_ms > now_ms]
        return _ranked(vector, [row for row in rows if names is None or not names.isdisjoint(row.allow)], limit)

    def search_rows(self, collection: str, vector: Vector, row_ids: Collection[str], limit: int, timeout_s: float) -> list[Hit]:
        with self._lock:
            present = self._of(collection)
            rows = [present[row_id] for row_id in set(row_ids) if row_id in present]
        return _ranked(vector, rows, limit)

    def drop(self, collection: str) -> None:
        with self._lock:
            self._rows.pop(collection, None)
            self._dimensions.pop(collection, None)

    def collections(self) -> list[str]:
        with self._lock:
            return sorted(self._rows)

    def ping(self, timeout_s: float) -> None:
        return

    def close(self) -> None:
        return

    def _of(self, collection: str) -> dict[str, Row]:
        try:
            return self._rows[collection]
        except KeyError as exc:
            msg = f"there is no collection {collection}: ingest creates it"
            raise Misconfigured(msg) from exc


def _ranked(vector: Vector, rows: list[Row], limit: int) -> list[Hit]:
    vectors = np.array([row.vector for row in rows], dtype=np.float32)
    return rank(vector, [row.row_id for row in rows], [row.doc_key for row in rows], vectors, limit)
