"""The two processes as services that can be started, stopped and asked how they are: ingest and query.

`ragstream ingest` and `ragstream serve` run one each; `ragstream up` runs both in one process, on embedded or real servers.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, ProcessCollector

from connectors.embedding import Embedder, create_cache, create_embedder
from connectors.kafka import KafkaLink
from connectors.milvus import VectorStore, create_vector_store
from connectors.observability import HealthServer, start_health_server
from connectors.parsing import FileParser
from flows.express import ExpressLane
from flows.ingest.run import run_ingest
from flows.ingest.runtime import IngestRuntime, Parts
from query_api.health import start_health
from query_api.serving import run
from query_api.stopping import StopSignal
from query_api.view import IndexView, KafkaViewLog
from ragstream.read_path import ReadPath
from schemas.errors import Retryable
from schemas.settings import Settings

JOIN_TIMEOUT_S: Final = 60.0
RESTART_PAUSE_S: Final = 1.0
VIEW_POLL_S: Final = 0.02

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Where:
    """Where the servers are: named by settings, or embedded ones found or started here."""

    link: KafkaLink
    milvus_uri: str


class IngestService:
    """The write path and its express lane.

    Args:
        embedder: shared with a query service of the same process; made here when None.
        threads, addresses, process: as Bytewax has them.
    """

    def __init__(
        self,
        settings: Settings,
        where: Where,
        *,
        embedder: Embedder | None = None,
        threads: int = 1,
        addresses: Sequence[str] | None = None,
        process: int = 0,
        until_caught_up: bool = False,
    ) -> None:
        self._settings = settings
        self._owns_embedder = embedder is None
        self._embedder = embedder or create_embedder(settings.embedding, settings.data_dir)
        self._store: VectorStore = create_vector_store(settings, where.milvus_uri)
        self._cache = create_cache(settings.embedding, settings.data_dir, self._embedder.fingerprint)
        self._parser = FileParser(settings.parsing)
        parts = Parts(where.link, self._store, self._embedder, self._cache, self._parser)
        self.runtime = IngestRuntime(settings, parts, until_caught_up=until_caught_up)
        self._express = ExpressLane(settings, where.link, positions=self.runtime.positions, state_of=self.runtime.state_of)
        self._place = (threads, addresses, process)
        self._health: HealthServer | None = None
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self.error: BaseException | None = None

    @property
    def health_url(self) -> str:
        return f"http://{self._settings.observability.host}:{self._health.port}" if self._health else ""

    def start(self) -> None:
        """Begin, in threads of its own: Bytewax's own handling of signals would kill without closing (bytewax#268)."""
        observability = self._settings.observability
        port = observability.ingest_port + self._place[2] if observability.ingest_port else 0
        checks = {"lanes": self._check_lanes, "flow": self._check_flow, "express": self._check_express}
        self._health = start_health_server(observability.host, port, REGISTRY, checks)
        self._thread = threading.Thread(target=self._run, name="ingest", daemon=True)
        self._thread.start()
        self._express.start()

    def stop(self) -> None:
        """Ask for a clean stop: what is in flight is published. Safe from a signal handler."""
        self.runtime.stop()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the flow has ended. Raises what it died of."""
        ended = self._ended.wait(timeout_s)
        if ended and self.error is not None:
            raise self.error
        return ended

    def close(self) -> None:
        """Stop and release everything. Never raises."""
        self.stop()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        self._express.stop()
        if self._health is not None:
            self._health.close()
        self._parser.close()
        self._cache.close()
        self._store.close()
        if self._owns_embedder:
            self._embedder.close()

    def _run(self) -> None:
        threads, addresses, process = self._place
        try:
            run_ingest(self.runtime, threads=threads, addresses=addresses, process=process)
        except BaseException as exc:
            self.error = exc
        finally:
            self._ended.set()

    def _check_lanes(self) -> str | None:
        return None if self.runtime.lanes else "no partition is open yet"

    def _check_flow(self) -> str | None:
        if self.error is not None:
            return str(self.error)
        return f"waiting for {self.runtime.waiting_for}" if self.runtime.waiting_for else None

    def _check_express(self) -> str | None:
        return f"express lane ended: {self._express.error}" if self._express.error is not None else None


class QueryService:
    """The read path: the view of the index and what queries share, the Faust worker before it, and the HTTP interface.

    Args:
        embedder: shared with an ingest service of the same process; made here when None.
        restored: set once an in-process log holds everything again; None for a log that is never empty at first.
        serves_kafka: whether rag.queries is answered; over HTTP it is as the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        where: Where,
        *,
        embedder: Embedder | None = None,
        restored: threading.Event | None = None,
        serves_kafka: bool = True,
    ) -> None:
        self._settings = settings
        self._link = where.link
        self._serves_kafka = serves_kafka
        self._owns_embedder = embedder is None
        self._embedder = embedder or create_embedder(settings.embedding, settings.data_dir)
        self._store = create_vector_store(settings, where.milvus_uri)
        self.view = IndexView(settings, KafkaViewLog(where.link), restored=restored)
        # Of its own: a name can be registered once, and a service may be started again in a process.
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.path = ReadPath(settings, where.link, self.view, self._store, self._embedder, self.registry)
        self._stop = StopSignal()
        self._started = threading.Event()
        self._ended = threading.Event()
        self._health: HealthServer | None = None
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    @property
    def health_url(self) -> str:
        return f"http://{self._settings.observability.host}:{self._health.port}" if self._health else ""

    @property
    def has_started(self) -> bool:
        """Whether the worker has joined its group and answers."""
        return self._started.is_set()

    def start(self) -> None:
        """Begin, in threads of its own."""
        self._health = start_health(self._settings, self.registry, self.view, {"worker": self._check_worker})
        self.view.start()
        self.path.start()
        self._thread = threading.Thread(target=self._run, name="query", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for a clean stop: answers in work are finished. Safe from a signal handler."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the worker has ended. Raises what it, or the view, died of."""
        ended = self._ended.wait(timeout_s)
        failure = self.error or self.view.failure
        if failure is not None:
            raise failure
        return ended

    def close(self) -> None:
        """Stop and release everything. Never raises."""
        self.stop()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        self.path.close()
        self.view.stop()
        if self._health is not None:
            self._health.close()
        self._store.close()
        if self._owns_embedder:
            self._embedder.close()

    def _run(self) -> None:
        try:
            pipeline = self.path.pipeline()
            self._wait_for_view()
            if not self._serves_kafka:
                self._started.set()
                self._stop.block()
            while not self._stop.is_set:
                try:
                    run(self._settings, self._link, pipeline, self.path.metrics, self._stop, self._started.set)
                except Retryable as exc:
                    log.warning("the query worker starts again", error=str(exc))
                    self._ended.wait(RESTART_PAUSE_S)
        except BaseException as exc:
            self.error = exc
        finally:
            self._ended.set()

    def _wait_for_view(self) -> None:
        """A worker that joins before its view is ready would only answer that it isn't."""
        while not self._stop.is_set and self.view.failure is None and not self.view.ready().is_ready:
            self._ended.wait(VIEW_POLL_S)

    def _check_worker(self) -> str | None:
        if self.error is not None:
            return str(self.error)
        return None if self._started.is_set() else "the query worker has not joined its group yet"
