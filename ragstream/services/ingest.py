"""The write path as a service that can be started, stopped and asked how it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from prometheus_client import REGISTRY

from connectors.embedding import Embedder, create_cache, create_embedder
from connectors.milvus import VectorStore, create_vector_store
from connectors.observability import HealthServer, start_health_server
from connectors.parsing import FileParser
from flows.express import ExpressLane
from flows.ingest.run import run_ingest
from flows.ingest.runtime import IngestRuntime, Parts
from ragstream.services.where import Where
from schemas.errors import Misconfigured
from schemas.settings import ObservabilitySettings, Settings

JOIN_TIMEOUT_S: Final = 60.0
PORT_MAX: Final = 65_535


def health_port(settings: ObservabilitySettings, process: int) -> int:
    """Where the worker with this number serves metrics and health; 0: on any free port. Raises: Misconfigured."""
    if not settings.ingest_port:
        return 0
    port = settings.ingest_port + process
    if port > PORT_MAX:
        msg = (
            f"worker {process} would serve metrics and health on port {port}, and {PORT_MAX} is the last one: lower "
            f"RAG_OBSERVABILITY__INGEST_PORT={settings.ingest_port}, or set it to 0 (any free ports)"
        )
        raise Misconfigured(msg)
    return port


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
        port = health_port(observability, self._place[2])
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
        return self._express.problem
