"""A whole read path in one process: the real view on LMDB over a log in memory, real pipeline, stores in memory.

`World` writes what the write path writes, each part when the test says so: rows, then the manifest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from connectors.embedding import HashingEmbedder
from connectors.keyword.memory import MemoryKeywordIndex
from connectors.milvus import Hit, MemoryVectorStore, Row
from connectors.milvus.port import Vector
from query_api.answer import Answerer, ExtractiveAnswerer
from query_api.cache import AnswerCache, CacheMetrics, Shadows, ThresholdGuard
from query_api.deadline import Deadline
from query_api.metrics import QueryMetrics
from query_api.pipeline import AnswerPipeline, Notes, PipelineParts
from query_api.recollection import Memory
from query_api.repeats import Repeats
from query_api.retrieval import Retriever
from query_api.view import IndexView
from schemas.acl import PUBLIC, AllowList
from schemas.floors import Floor, FloorKey, LaneName
from schemas.index import DOC, DocKey, IndexEntry, LogKey
from schemas.join import effect_of
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import EmbeddingSettings, QuerySettings, Settings
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import KeyValue, Writer
from tests.waiting import wait_until

DIMENSION = 384
ALL_YEARS_MS = 4_000_000_000_000


class Stores(MemoryVectorStore):
    """The vector store, with ways to fail and to be late, and a count of what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: Exception | None = None
        self.before_search: Callable[[], object] = lambda: None
        self.limits: list[int] = []
        self.exact_searches = 0

    def search(
        self, collection: str, vector: Vector, limit: int, principals: Collection[str] | None, now_ms: int, timeout_s: float
    ) -> list[Hit]:
        self.limits.append(limit)
        self.before_search()
        if self.failure is not None:
            raise self.failure
        return super().search(collection, vector, limit, principals, now_ms, timeout_s)

    def search_rows(self, collection: str, vector: Vector, row_ids: Collection[str], limit: int, timeout_s: float) -> list[Hit]:
        self.exact_searches += 1
        return super().search_rows(collection, vector, row_ids, limit, timeout_s)


class BrokenKeywords(MemoryKeywordIndex):
    """A keyword index that fails searches when told to."""

    failure: Exception | None = None

    def search(self, query: str, limit: int, indexes: Collection[str] = ()) -> list[Any]:
        if self.failure is not None:
            raise self.failure
        return super().search(query, limit, indexes)


class World:
    """See the module."""

    def __init__(
        self,
        folder: Path,
        answerer: Answerer | None = None,
        *,
        remembers: bool = False,
        repeats: Repeats | None = None,
        asked: Notes | None = None,
        **query: Any,
    ) -> None:
        embedding = EmbeddingSettings(kind="hashing", dimension=DIMENSION)
        self.settings = Settings(data_dir=folder, embedding=embedding, query=QuerySettings(**{"keyword_commit_s": 0.01, **query}))
        topics = self.settings.kafka.topics
        self.log = MemoryLog({topics.documents: 1, self.settings.index_topic: 1, topics.floors: 1})
        self.vectors = Stores()
        self.vectors.ensure(self.settings.collection("docs"), DIMENSION)
        self.keywords = BrokenKeywords()
        self.embedder = HashingEmbedder(DIMENSION)
        self.writer = Writer(0)
        self.wall_ms = ALL_YEARS_MS
        self.deltas: list[AnswerEvent] = []
        self.on_delta: Callable[[AnswerEvent], object] = lambda _: None
        self.view = IndexView(self.settings, self.log, open_keyword=lambda _folder, _stamp: self.keywords)
        self.retriever = Retriever(self.settings, self.vectors, lambda: self.view.keyword, self.embedder)
        self.metrics = QueryMetrics(CollectorRegistry())
        self.memory = _memory() if remembers else None
        parts = PipelineParts(self.view, self.retriever, answerer or ExtractiveAnswerer(), self.memory, repeats, asked)
        self.pipeline = AnswerPipeline(self.settings, parts, self.metrics, lambda: self.wall_ms)
        self.view.start()
        wait_until(lambda: self.view.ready().is_ready, within_s=10, what="the empty view")

    def close(self) -> None:
        self.view.stop()
        self.retriever.close()

    # -- writing

    def upsert(self, doc_id: str, version: int, text: str, allow: AllowList = PUBLIC, index: str = "docs") -> None:
        """Rows, then the manifest; returns when the view has it."""
        self.write_rows(records := self.writer.upsert(DocKey(index, doc_id), version, text, allow), allow)
        self.publish(records)

    def access(self, doc_id: str, version: int, allow: AllowList) -> None:
        """An access change that reaches the view only: rows in the store lag behind."""
        self.publish(self.writer.access(DocKey("docs", doc_id), version, allow))

    def delete(self, doc_id: str, version: int) -> None:
        """The manifest goes; rows stay for the garbage collector."""
        self.publish(self.writer.delete(DocKey("docs", doc_id), version))

    def expires(self, doc_id: str, version: int, at_ms: int) -> None:
        """An access change that only shortens a life."""
        effect = effect_of(version=version, carries_expiry=True, expires_at_ms=at_ms)
        self.publish(self.writer._take(DocKey("docs", doc_id), effect))

    def floor(self, doc_id: str, floor: Floor) -> None:
        """What the express lane publishes, ahead of the manifest."""
        topic = self.settings.kafka.topics.floors
        key = FloorKey(DocKey("docs", doc_id), LaneName(self.settings.generation, 0))
        self.log.append(topic, 0, key.to_bytes(), floor.to_bytes())

    def write_rows(self, records: list[KeyValue], allow: AllowList = PUBLIC) -> None:
        for key, value in records:
            if LogKey.from_bytes(key).kind == DOC:
                entry = IndexEntry.from_bytes(value)
                vectors = self.embedder.encode(entry.passages())
                rows = [
                    Row(span.row_id, vector, str(entry.key), allow, 0) for span, vector in zip(entry.chunks, vectors, strict=True)
                ]
                self.vectors.upsert(self.settings.collection(entry.index), rows)

    def publish(self, records: list[KeyValue], *, is_awaited: bool = True) -> None:
        self.log.append(self.settings.kafka.topics.documents, 0, b"", b"")
        for key, value in records:
            self.log.append(self.settings.index_topic, 0, key, value)
        if is_awaited:
            self.wait_until_read()

    def wait_until_read(self) -> None:
        """Until the view, keyword index included, reflects everything written."""
        end = self.log.next[self.settings.kafka.topics.documents, 0]
        wait_until(lambda: self._position() >= end, within_s=10, what="the view to read the log")

    def _position(self) -> int:
        partitions = self.view.as_of().partitions
        return partitions[0].position if partitions else 0

    # -- asking

    def ask(self, question: str, *principals: str, deadline_s: float = 5.0, **over: Any) -> AnswerEvent:
        request = QueryRequest(query_id="q", question=question, principals=principals, explain=True, **over)
        self.deltas = []
        return run(self.pipeline.answer(request, Deadline.after(deadline_s), self.listen))

    async def listen(self, delta: AnswerEvent) -> None:
        self.deltas.append(delta)
        self.on_delta(delta)


def _memory() -> Memory:
    guard = ThresholdGuard(0.86, 0.02)
    cache = AnswerCache(max_entries=100, ttl_s=60, barred_ttl_s=60, threshold=lambda: guard.threshold)
    embedder = HashingEmbedder(DIMENSION)
    return Memory(cache, Shadows(0.0, guard, CacheMetrics(CollectorRegistry()), embedder.encode_query, lambda: 1.0))


def run(work: Coroutine[Any, Any, AnswerEvent]) -> AnswerEvent:
    return asyncio.run(work)


async def until(condition: Callable[[], bool]) -> None:
    """Wait on the event loop for something that nothing signals."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.001)
