"""The write path on real servers as the benchmarks run it: one set of topics and collections per run, measured from outside.

Servers named by `RAG_TEST_KAFKA`, `RAG_TEST_MILVUS` and `RAG_TEST_REDIS` are used; else the suite's own
start for the run and end with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from connectors.embedding import Embedder, create_cache
from connectors.kafka import KafkaLink, OutRecord, Producer
from connectors.kafka.topics import create_topics, topic_specs
from connectors.milvus import VectorStore, create_vector_store
from connectors.parsing import FileParser
from flows.ingest.publishing import Receipt
from flows.ingest.run import run_ingest
from flows.ingest.runtime import IngestRuntime, Parts
from schemas.documents import DocumentChange
from schemas.settings import Settings, TopicSettings
from tests.servers.kafka import KafkaServer
from tests.servers.milvus import MilvusServer
from tests.servers.plugin import KAFKA_VARIABLE, MILVUS_VARIABLE, REDIS_VARIABLE
from tests.servers.redis import RedisServer

INGEST_END_S: Final = 60


class Servers(NamedTuple):
    """Where Kafka, Milvus and Redis answer (no Redis: empty); `pids` of those that were started here, by name."""

    kafka: str
    milvus: str
    pids: dict[str, int]
    redis: str = ""


class Committed(NamedTuple):
    """One committed batch: when, and what it brought. A text that came twice is a chunk twice and embedded once."""

    at_s: float
    events: int
    chunks: int
    embedded: int
    embedded_tokens: int
    cpu_s: float


class WatchedRuntime(IngestRuntime):
    """The product's runtime that also notes when which batch was committed."""

    def __init__(self, settings: Settings, parts: Parts, *, until_caught_up: bool = False) -> None:
        super().__init__(settings, parts, until_caught_up=until_caught_up)
        self.commits: list[Committed] = []
        self.first_read_s: float | None = None
        self._seen: set[str] = set()

    def has_read(self, partition: int, position: int) -> None:
        if self.first_read_s is None:
            self.first_read_s = time.time()
        super().has_read(partition, position)

    def account(self, receipt: Receipt) -> None:
        events = sum(run.count for run in receipt.marker.runs)
        rows = [row for work in receipt.works for row in work.rows if row.text is not None]
        new = {row.digest: row.tokens for row in rows if row.digest not in self._seen}
        self._seen.update(new)
        cpu_s = time.process_time()
        self.commits.append(Committed(receipt.committed_ms / 1000, events, len(rows), len(new), sum(new.values()), cpu_s))
        super().account(receipt)


@dataclass
class Stack:
    """Topics and collections of one run."""

    settings: Settings
    link: KafkaLink
    store: VectorStore
    embedder: Embedder
    _closing: ExitStack = field(default_factory=ExitStack)

    def publish(self, changes: Iterable[DocumentChange]) -> int:
        """Send and wait for every acknowledgement."""
        return self.publish_raw((change.doc_id.encode(), change.to_bytes()) for change in changes)

    def publish_raw(self, messages: Iterable[tuple[bytes, bytes]]) -> int:
        producer, count = Producer(self.link), 0
        try:
            for key, value in messages:
                producer.send(OutRecord(self.settings.kafka.topics.documents, key, value))
                count += 1
            producer.flush(120)
        finally:
            producer.close()
        return count

    def runtime(self, *, until_caught_up: bool = True) -> WatchedRuntime:
        cache = create_cache(self.settings.embedding, self.settings.data_dir, self.embedder.fingerprint)
        parser = FileParser(self.settings.parsing)
        self._closing.callback(cache.close)
        self._closing.callback(parser.close)
        parts = Parts(self.link, self.store, self.embedder, cache, parser)
        return WatchedRuntime(self.settings, parts, until_caught_up=until_caught_up)

    def ingest(self) -> WatchedRuntime:
        """Until everything published so far is indexed."""
        runtime = self.runtime()
        run_ingest(runtime)
        return runtime

    def drop(self) -> None:
        """Remove the run's collections."""
        for collection in self.store.collections():
            if collection.startswith(self.settings.milvus.collection_prefix):
                self.store.drop(collection)

    def close(self) -> None:
        """Release everything; what is in the servers stays."""
        self._closing.close()
        self.store.close()


def make_settings(data_dir: Path, **sections: dict[str, object]) -> Settings:
    """Default settings but for names of the run's own."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    topics = {key: f"{name}.{value}" for key, value in TopicSettings().model_dump().items()}
    kafka = {"topics": topics, **sections.pop("kafka", {})}
    milvus = {"collection_prefix": name, **sections.pop("milvus", {})}
    observability = {"log_level": "warning", "ingest_port": 0, "query_port": 0}
    return Settings.model_validate(
        {"data_dir": data_dir, "kafka": kafka, "milvus": milvus, "observability": observability, **sections}
    )


@contextmanager
def opened_stack(servers: Servers, settings: Settings, embedder: Embedder) -> Iterator[Stack]:
    """On topics that exist; what is in them stays."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    link = KafkaLink(settings.kafka, servers.kafka)
    stack = Stack(settings, link, create_vector_store(settings, servers.milvus), embedder)
    try:
        yield stack
    finally:
        stack.close()


@contextmanager
def real_stack(servers: Servers, settings: Settings, embedder: Embedder) -> Iterator[Stack]:
    """Topics of the run's own; collections come with the first ingest and are gone afterwards."""
    create_topics(KafkaLink(settings.kafka, servers.kafka), topic_specs(settings))
    with opened_stack(servers, settings, embedder) as stack:
        try:
            yield stack
        finally:
            stack.drop()


@contextmanager
def running_servers(home: Path) -> Iterator[Servers]:
    """Kafka, Milvus and Redis for the length of the block."""
    kafka, milvus, redis = (os.environ.get(name) for name in (KAFKA_VARIABLE, MILVUS_VARIABLE, REDIS_VARIABLE))
    pids: dict[str, int] = {}
    with ExitStack() as running:
        if not kafka:
            broker = running.enter_context(KafkaServer(home / "kafka"))
            kafka, pids["kafka"] = broker.bootstrap_servers, broker.pid
        if not milvus:
            vectors = running.enter_context(MilvusServer(home / "milvus"))
            milvus, pids["milvus"] = vectors.uri, vectors.pid
        if not redis:
            remembering = running.enter_context(RedisServer(home / "redis"))
            redis, pids["redis"] = remembering.url, remembering.pid
        yield Servers(kafka, milvus, pids, redis)


def process_environment(at: Servers, settings: Settings) -> dict[str, str]:
    """The settings of a run as a `ragstream` process gets them."""
    kafka, prefix = settings.kafka.topics.model_dump(), "RAG_KAFKA__TOPICS__"
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAG_")},
        "RAG_DATA_DIR": str(Path(settings.data_dir) / "ingest"),
        "RAG_KAFKA__BOOTSTRAP_SERVERS": at.kafka,
        "RAG_MILVUS__URI": at.milvus,
        "RAG_MILVUS__COLLECTION_PREFIX": settings.milvus.collection_prefix,
        "RAG_OBSERVABILITY__INGEST_PORT": "0",
        "RAG_OBSERVABILITY__LOG_LEVEL": "warning",
        **{prefix + name.upper(): topic for name, topic in kafka.items()},
    }


@contextmanager
def ingest_process(at: Servers, settings: Settings) -> Iterator[None]:
    """`ragstream ingest` for the length of the block."""
    process = subprocess.Popen([sys.executable, "-m", "ragstream", "ingest"], env=process_environment(at, settings))
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(INGEST_END_S)


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib() -> dict[str, float]:
    """This process's resident memory: all of it, what is its own, what are pages of files, and the highest so far."""
    names = {"VmRSS": "all", "RssAnon": "own", "RssFile": "files", "VmHWM": "peak"}
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return {names[line[0].rstrip(":")]: int(line[1]) / 1024 for line in lines if line[0].rstrip(":") in names}
