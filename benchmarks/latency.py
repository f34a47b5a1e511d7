"""Freshness: from the producer's acknowledgement until the vector arm returns the new chunk through the query path, idle.

A sample is a new document or an edit. After the acknowledgement its text is asked for again and again, through the retriever's
vector arm and the checks on the view, until a passage of it passes. Pauses between samples are random, so that no clock is
met in phase.
"""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

from benchmarks.stack import Servers, ingest_process
from connectors.embedding import Embedder, create_embedder
from connectors.kafka import KafkaLink, OutRecord, Producer
from connectors.kafka.topics import create_topics, topic_specs
from connectors.milvus import create_vector_store
from query_api.assembly import Reader, assemble
from query_api.deadline import Deadline
from query_api.retrieval import Retriever, Search
from query_api.view import IndexView, KafkaViewLog
from ragstream.up import Up
from schemas.acl import EVERYONE
from schemas.documents import DocumentChange, InlineText
from schemas.index import DocKey
from schemas.settings import Settings
from tests.waiting import wait_until

POLL_S = 0.002
MAX_PAUSE_S = 0.25
VISIBLE_TIMEOUT_S = 30.0
READY_TIMEOUT_S = 120.0
DOCUMENTS = 200
WARM_UP = 5
SUBJECTS = ("card", "transfer", "refund", "invoice", "passport", "mortgage", "salary", "parking", "harbour", "bakery")
EVERYBODY = frozenset((EVERYONE,))

Send = Callable[[DocumentChange], None]
"""Returns when the change is acknowledged."""


def real(servers: dict[str, Any], settings: dict[str, Any], samples: int) -> dict[str, Any]:
    """Kafka, Milvus and `ragstream ingest` as processes of their own; producer and query path in this one."""
    at, parsed = Servers(**servers), Settings.model_validate(settings)
    parsed.data_dir.mkdir(parents=True, exist_ok=True)
    link = KafkaLink(parsed.kafka, at.kafka)
    create_topics(link, topic_specs(parsed))
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    view, producer = IndexView(parsed, KafkaViewLog(link)), Producer(link)
    topic = parsed.kafka.topics.documents
    try:
        with ingest_process(at, parsed):
            view.start()
            wait_until(lambda: view.ready().is_ready, within_s=READY_TIMEOUT_S, what="the view")
            probe = Probe(parsed, at.milvus, view, embedder)

            def send(change: DocumentChange) -> None:
                producer.send_and_wait(OutRecord(topic, change.doc_id.encode(), change.to_bytes()), 10)

            return probe.run(send, samples)
    finally:
        producer.close()
        view.stop()
        store = create_vector_store(parsed, at.milvus)
        for collection in store.collections():
            if collection.startswith(parsed.milvus.collection_prefix):
                store.drop(collection)
        store.close()


def embedded(settings: dict[str, Any], samples: int) -> dict[str, Any]:
    """Everything in this process, as `ragstream up` runs it; acknowledged means journaled and accepted."""
    with tempfile.TemporaryDirectory() as folder:
        parsed = Settings.model_validate({**settings, "data_dir": folder})
        whole = Up(parsed)
        whole.start()
        try:
            view, intake = whole.query.view, whole.intake
            if intake is None:
                msg = "embedded mode has an intake"
                raise AssertionError(msg)
            wait_until(lambda: view.ready().is_ready, within_s=READY_TIMEOUT_S, what="the view")
            embedder = create_embedder(parsed.embedding, parsed.data_dir)
            probe = Probe(parsed, whole.where.milvus_uri, view, embedder)
            topic = parsed.kafka.topics.documents

            def send(change: DocumentChange) -> None:
                intake.accept([OutRecord(topic, change.doc_id.encode(), change.to_bytes())])

            return probe.run(send, samples)
        finally:
            whole.close()


class Probe:
    """The vector arm and the view's checks, asked until a text is found."""

    def __init__(self, settings: Settings, milvus: str, view: IndexView, embedder: Embedder) -> None:
        self._indexes = tuple(settings.indexes)
        self._view = view
        self._store = create_vector_store(settings, milvus)
        self._retriever = Retriever(settings, self._store, lambda: view.keyword, embedder)

    def run(self, send: Send, samples: int) -> dict[str, Any]:
        """Milliseconds of `samples` changes, and how long one look takes."""
        rng = random.Random(3)
        try:
            found = asyncio.run(self._run(send, samples, rng))
        finally:
            self._retriever.close()
            self._store.close()
        waits = sorted(wait for wait, _ in found)
        looks = sum(count for _, count in found)
        cuts = statistics.quantiles(waits, n=100)
        return {
            "samples": len(waits),
            "p50_ms": cuts[49],
            "p90_ms": cuts[89],
            "p99_ms": cuts[98],
            "max_ms": waits[-1],
            "looks_per_sample": looks / len(waits),
            "load": os.getloadavg()[0],
        }

    async def _run(self, send: Send, samples: int, rng: random.Random) -> list[tuple[float, int]]:
        await asyncio.to_thread(self._wait_for_the_first, send)
        for number in range(WARM_UP):
            await self._sample(send, f"warm-up/{number}", rng)
        found = []
        for number in range(samples):
            found.append(await self._sample(send, f"latency/{number % DOCUMENTS}", rng))
            await asyncio.sleep(rng.random() * MAX_PAUSE_S)
        return found

    def _wait_for_the_first(self, send: Send) -> None:
        """What is published was written to Milvus before: the collection is there and loaded."""
        send(DocumentChange(op="upsert", doc_id="first", acl=(EVERYONE,), content=InlineText(text="The first notice.")))
        wait_until(self._has_first, within_s=READY_TIMEOUT_S, what="the first document")

    def _has_first(self) -> bool:
        with self._view.snapshot() as snapshot:
            return snapshot.document(DocKey(self._indexes[0], "first")) is not None

    async def _sample(self, send: Send, doc_id: str, rng: random.Random) -> tuple[float, int]:
        words = " ".join(rng.choices(SUBJECTS, k=6))
        text = f"Notice {rng.randint(10**6, 10**7)} about {words}: it is handled within {rng.randint(2, 90)} days."
        change = DocumentChange(op="upsert", doc_id=doc_id, acl=(EVERYONE,), content=InlineText(text=text))
        await asyncio.to_thread(send, change)
        acknowledged, looks = time.perf_counter(), 0
        while time.perf_counter() - acknowledged < VISIBLE_TIMEOUT_S:
            looks += 1
            if await self._finds(text, DocKey(self._indexes[0], doc_id)):
                return (time.perf_counter() - acknowledged) * 1000, looks
            await asyncio.sleep(POLL_S)
        msg = f"{doc_id} was not found within {VISIBLE_TIMEOUT_S:g} s"
        raise TimeoutError(msg)

    async def _finds(self, text: str, key: DocKey) -> bool:
        now_ms = time.time_ns() // 1_000_000
        retrieved = await self._retriever.retrieve(Search(text, self._indexes, 50), Deadline.after(10))
        rows = {found.row_id: found.key for found in retrieved.vector.found}
        with self._view.snapshot() as snapshot:
            found = assemble(snapshot, Reader(EVERYBODY, now_ms), rows, retrieved.vector.scores(), None, 1.0)
        return any(passage.doc_key == key and passage.text.strip() == text for passage in found.passages)
