"""The HTTP interface of the query service: its pipeline, and where what it takes in goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from connectors.kafka import KafkaLink, Producer
from query_api.http import HttpService, Ports
from ragstream.embedded.intake import MAX_EVENT_BYTES as MAX_EMBEDDED_EVENT_BYTES
from ragstream.publishing.tokens import Documents, FeedbackLog, Send, producer_send
from ragstream.services.read_path import ReadPath
from schemas.errors import Misconfigured
from schemas.settings import Settings

LOOPBACK: Final = "127.0.0.1"

_log = structlog.get_logger(__name__)


class HttpSide:
    """Bound when made; serves from `start` on.

    Args:
        accept: takes changes where an embedded log has a journal; None: they are produced to Kafka.

    Raises: Misconfigured, when the address can't be had.
    """

    def __init__(
        self,
        settings: Settings,
        link: KafkaLink,
        path: ReadPath,
        *,
        accept: Send | None,
        waiting_for: Callable[[], Mapping[str, str]],
        registry: CollectorRegistry,
    ) -> None:
        self._producer = Producer(link)
        topics, limit = settings.kafka.topics, settings.kafka.max_message_bytes
        send, most = (producer_send(self._producer), limit) if accept is None else (accept, MAX_EMBEDDED_EVENT_BYTES)
        documents = Documents(link, topics.documents, send, most)
        feedback = FeedbackLog(self._producer, topics.feedback)

        def ports() -> Ports:
            return Ports(path.pipeline(), path.identity, documents, feedback, waiting_for, registry)

        # What is embedded is one person's, on this machine.
        host = LOOPBACK if link.embedded else settings.http.host
        self._service = _bound(settings, ports, host, is_movable=link.embedded)

    @property
    def url(self) -> str:
        return self._service.url

    @property
    def error(self) -> BaseException | None:
        """What it died of."""
        return self._service.error

    def start(self) -> None:
        """Begin to answer, from a thread of its own. Returns once it does."""
        self._service.start()

    def stop(self) -> None:
        """End within seconds, streams or not. Never raises; may be called again, and before `start`."""
        self._service.stop()
        self._producer.close()


def _bound(settings: Settings, ports: Callable[[], Ports], host: str, *, is_movable: bool) -> HttpService:
    """At the settings' address. Raises: Misconfigured.

    Args:
        is_movable: where nobody asked for the port that is taken, any other one will do, and is told. What is embedded is found
            by its own commands wherever it is; a server is looked for where it is known to be.
    """
    service = HttpService(settings, ports, host)
    try:
        service.bind()
    except Misconfigured as exc:
        if not is_movable or "port" in settings.http.model_fields_set:
            raise
        http = settings.http.model_copy(update={"port": 0})
        service = HttpService(settings.model_copy(update={"http": http}), ports, host)
        service.bind()
        _log.warning("http_port_taken", error=str(exc), url=service.url)
    return service
