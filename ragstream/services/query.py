"""The read path as a service: Kafka's worker, the HTTP interface, what both share; started, stopped and asked how it is."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from connectors.embedding import Embedder, create_embedder
from connectors.garbage_collection import collect_less
from connectors.milvus import create_vector_store
from connectors.observability import HealthServer
from query_api.canary import Canary, CanaryMetrics
from query_api.health import start_health
from query_api.serving import run
from query_api.stopping import StopSignal
from query_api.view import IndexView, KafkaViewLog
from ragstream.publishing.tokens import Send
from ragstream.services.http_side import HttpSide
from ragstream.services.read_path import ReadPath, Signatures
from ragstream.services.where import Where
from schemas.errors import Retryable
from schemas.settings import Settings

JOIN_TIMEOUT_S: Final = 60.0
RESTART_PAUSE_S: Final = 1.0
VIEW_POLL_S: Final = 0.02

log = structlog.get_logger(__name__)


class QueryService:
    """The read path: the view of the index and what queries share, the Faust worker before it, and the HTTP interface.

    Args:
        embedder: shared with an ingest service of the same process; made here when None.
        restored: set once an in-process log holds everything again; None for a log that is never empty at first.
        serves_kafka: whether rag.queries is answered; over HTTP it is as the settings say.
        accept: takes documents that come over HTTP, where an embedded log has a journal; None: they are produced to Kafka.

    Raises: Misconfigured, for a wrong setting and for an address that can't be had.
    """

    def __init__(
        self,
        settings: Settings,
        where: Where,
        *,
        embedder: Embedder | None = None,
        restored: threading.Event | None = None,
        serves_kafka: bool = True,
        accept: Send | None = None,
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
        self._http: HttpSide | None = None
        if settings.http.enabled:
            registry = self.registry
            self._http = HttpSide(
                settings, where.link, self.path, accept=accept, waiting_for=self._waiting_for, registry=registry
            )
        self._canary = None
        if settings.canary.interval_s:
            self._canary = Canary(settings, where.link, self.view, CanaryMetrics(self.registry))
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
    def http_url(self) -> str:
        """Of the HTTP interface; empty where there is none."""
        return self._http.url if self._http is not None else ""

    @property
    def has_started(self) -> bool:
        """Whether the worker has joined its group and answers."""
        return self._started.is_set()

    def start(self) -> None:
        """Begin, in threads of its own."""
        collect_less()
        self._health = start_health(self._settings, self.registry, self.view, {"worker": self._check_worker})
        self.view.start()
        self.path.start()
        if self._canary is not None:
            self._canary.start()
        self._thread = threading.Thread(target=self._run, name="query", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for a clean stop: answers in work are finished. Safe from a signal handler."""
        self._stop.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Whether the worker has ended. Raises what it, or the view, died of."""
        ended = self._ended.wait(timeout_s)
        failure = self.error or self.view.failure or (self._http.error if self._http is not None else None)
        if failure is not None:
            raise failure
        return ended

    def close(self) -> None:
        """Stop and release everything. Never raises."""
        self.stop()
        if self._thread is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        if self._http is not None:
            self._http.stop()
        if self._canary is not None:
            self._canary.stop()
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
            if self._http is not None:
                self._http.start()
            self._wait_for_view()
            if self.view.failure is not None:
                return  # `wait` raises it: what keeps the view from Kafka keeps the worker from it, and says less of it
            if not self._serves_kafka:
                self._started.set()
                self._stop.block()
            signatures = Signatures(self.path.identity)
            while not self._stop.is_set:
                try:
                    run(self._settings, self._link, pipeline, self.path.metrics, self._stop, self._started.set, signatures)
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

    def _waiting_for(self) -> Mapping[str, str]:
        """What HTTP waits for: it answers as soon as the view may be used, whether Kafka's worker has joined or not."""
        ready = self.view.ready()
        return {} if ready.is_ready else {"view": ready.reason}

    def _check_worker(self) -> str | None:
        if self.error is not None:
            return str(self.error)
        return None if self._started.is_set() else "the query worker has not joined its group yet"
