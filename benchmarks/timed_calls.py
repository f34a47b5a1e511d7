"""What the encoder and Milvus took of a request: their calls, noted by the server and subtracted by whoever asked.

Both sides go by the same clock: `time.perf_counter` is the system's monotonic one on Linux, in every process.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from connectors.embedding import Embedder
from connectors.embedding.port import Matrix, Vector
from connectors.milvus import VectorStore
from connectors.milvus.port import Hit

Kind = Literal["encoder", "milvus"]


class Call(NamedTuple):
    """One call, from before it was made until it had returned, in the thread that made it."""

    kind: Kind
    began_s: float
    ended_s: float


class CallLog:
    """Writes every call to a file as it ends. Thread-safe."""

    def __init__(self, file: Path) -> None:
        self._lines = file.open("a", buffering=1)
        self._lock = threading.Lock()

    def close(self) -> None:
        """No call may run any more."""
        self._lines.close()

    @contextmanager
    def call(self, kind: Kind) -> Iterator[None]:
        began_s = time.perf_counter()
        try:
            yield
        finally:
            line = json.dumps(Call(kind, began_s, time.perf_counter()))
            with self._lock:
                self._lines.write(f"{line}\n")


def read_calls(file: Path) -> list[Call]:
    """All calls so far, by when they began."""
    return sorted((Call(*json.loads(line)) for line in file.read_text().splitlines()), key=lambda call: call.began_s)


def covered_s(calls: Iterable[Call], began_s: float, ended_s: float) -> float:
    """Seconds between `began_s` and `ended_s` in which at least one of the calls was at work."""
    total, until = 0.0, began_s
    for call in sorted(calls, key=lambda one: one.began_s):
        start, end = max(call.began_s, until), min(call.ended_s, ended_s)
        if end > start:
            total += end - start
            until = end
    return total


class TimedEmbedder:
    """The product's encoder; questions' encodings are noted."""

    def __init__(self, embedder: Embedder, log: CallLog) -> None:
        self._embedder = embedder
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._embedder, name)

    def encode_query(self, text: str) -> Vector:
        with self._log.call("encoder"):
            return self._embedder.encode_query(text)

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        with self._log.call("encoder"):
            return self._embedder.encode_queries(texts)


class TimedStore:
    """The product's vector store; searches are noted."""

    def __init__(self, store: VectorStore, log: CallLog) -> None:
        self._store = store
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def search(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        principals: Collection[str] | None,
        now_ms: int,
        timeout_s: float,
    ) -> list[Hit]:
        with self._log.call("milvus"):
            return self._store.search(collection, vector, limit, principals, now_ms, timeout_s)

    def search_rows(self, collection: str, vector: Vector, row_ids: Collection[str], limit: int, timeout_s: float) -> list[Hit]:
        with self._log.call("milvus"):
            return self._store.search_rows(collection, vector, row_ids, limit, timeout_s)
