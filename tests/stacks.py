"""The write path on embedded or real servers, for tests: publish, ingest until caught up, look at what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from connectors.embedding import Embedder, HashingEmbedder, create_cache
from connectors.kafka import KafkaLink, OutRecord, Producer
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.topics import create_topics, topic_specs
from connectors.milvus import LiteServer, VectorStore, create_vector_store
from connectors.parsing import FileParser
from flows.ingest.run import run_ingest
from flows.ingest.runtime import IngestRuntime, Parts
from schemas.documents import DocumentChange
from schemas.settings import Settings, TopicSettings
from tests.index_log import IndexLog, read_index_log

TOPICS = TopicSettings()


@dataclass
class IngestStack:
    """Servers, and what the test does with them. The embedder and its cache outlive single runs, as they do for a
    process's disk.
    """

    settings: Settings
    link: KafkaLink
    milvus_uri: str
    store: VectorStore
    embedder: Embedder = field(default_factory=lambda: HashingEmbedder(64))

    def publish(self, changes: Iterable[DocumentChange]) -> int:
        return self.publish_raw((c.doc_id.encode(), c.to_bytes()) for c in changes)

    def publish_raw(self, messages: Iterable[tuple[bytes | None, bytes | None]]) -> int:
        producer = Producer(self.link)
        count = 0
        for key, value in messages:
            producer.send(OutRecord(self.settings.kafka.topics.documents, key, value))
            count += 1
        producer.flush(30)
        producer.close()
        return count

    def runtime(self, *, until_caught_up: bool = True) -> IngestRuntime:
        cache = create_cache(self.settings.embedding, self.settings.data_dir, self.embedder.fingerprint)
        parts = Parts(self.link, self.store, self.embedder, cache, FileParser(self.settings.parsing))
        return IngestRuntime(self.settings, parts, until_caught_up=until_caught_up)

    def ingest(self, threads: int = 1) -> None:
        """Until everything published so far is indexed."""
        runtime = self.runtime()
        try:
            run_ingest(runtime, threads=threads)
        finally:
            runtime.parts.parser.close()
            runtime.parts.cache.close()

    @contextmanager
    def ingesting(self, threads: int = 1) -> Iterator[IngestRuntime]:
        """In the background, until the block ends. What it died of is raised at the end."""
        runtime = self.runtime(until_caught_up=False)
        failure: list[BaseException] = []

        def run() -> None:
            try:
                run_ingest(runtime, threads=threads)
            except BaseException as exc:
                failure.append(exc)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield runtime
        finally:
            runtime.stop()
            thread.join(60)
            runtime.parts.parser.close()
            runtime.parts.cache.close()
        assert not thread.is_alive(), "ingest did not stop"
        if failure:
            raise failure[0]

    def collect_garbage(self) -> None:
        """Let the grace period pass for everything: with none, opening the lanes deletes what is still listed."""
        with self.ingesting() as runtime:
            deadline = time.monotonic() + 30
            while not runtime.lanes or runtime.garbage_rows:
                assert time.monotonic() < deadline, "garbage is not collected"
                time.sleep(0.05)

    def log(self) -> IndexLog:
        return read_index_log(self.link, self.settings.index_topic)

    def rows(self, index: str = "docs") -> set[str]:
        return set(self.store.row_ids(self.settings.collection(index)))


def stack_settings(tmp_path: Path, prefix: str = "", **sections: dict[str, object]) -> Settings:
    """Settings with topics and collections of the test's own, and no grace for garbage unless asked."""
    topics = {name: f"{prefix}{value}" for name, value in TOPICS.model_dump().items()}
    kafka = {"topics": topics, "partitions": 4, **sections.pop("kafka", {})}
    ingest = {"garbage_grace_s": 0, "tick_s": 0.05, **sections.pop("ingest", {})}
    milvus = {"collection_prefix": "t_" + "".join(c if c.isalnum() else "_" for c in prefix)[:50], **sections.pop("milvus", {})}
    return Settings.model_validate(
        {"data_dir": tmp_path / "data", "kafka": kafka, "ingest": ingest, "milvus": milvus, **sections}
    )


@contextmanager
def embedded_stack(tmp_path: Path, settings: Settings | None = None) -> Iterator[IngestStack]:
    """The in-process broker and Milvus Lite."""
    settings = settings or stack_settings(tmp_path)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    broker, lite = EmbeddedBroker(), LiteServer(tmp_path / "milvus.db")
    try:
        bootstrap = broker.start({spec.name: spec.partitions for spec in topic_specs(settings)})
        uri = lite.start()
        store = create_vector_store(settings, uri)
        link = KafkaLink(settings.kafka, bootstrap, embedded=True, lock_dir=tmp_path / "locks")
        yield IngestStack(settings, link, uri, store)
        store.close()
    finally:
        lite.close()
        broker.close()


@contextmanager
def real_stack(tmp_path: Path, settings: Settings, bootstrap: str, milvus_uri: str) -> Iterator[IngestStack]:
    """Kafka and Milvus that run."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    link = KafkaLink(settings.kafka, bootstrap)
    create_topics(link, topic_specs(settings))
    store = create_vector_store(settings, milvus_uri)
    try:
        yield IngestStack(settings, link, milvus_uri, store)
    finally:
        for collection in store.collections():
            if collection.startswith(settings.milvus.collection_prefix):
                store.drop(collection)
        store.close()
