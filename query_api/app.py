"""The Faust application of the query process: its options, its transport, and the agent that hands queries to the worker.

Faust decodes nothing, declares nothing, keeps no tables and serves no pages here; what it does is group membership,
fetching, committing and producing. Building an app touches no broker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Mapping
from functools import partial
from typing import Any, Final

import faust
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faust.transport.drivers import aiokafka as driver
from mode.threads import WorkerThread

from connectors.kafka.config import EMBEDDED_FETCH_WAIT_MS, MESSAGE_HEADROOM_BYTES, faust_config
from connectors.kafka.flow_control import Backlog
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata
from connectors.kafka.tolerant_records import tolerate_header_names
from query_api.messages import QueryMessage
from query_api.metrics import QueryMetrics
from query_api.worker import Outgoing, Pipeline, QueryWorker, Send, Signatures, Taken
from schemas.errors import RagError, Rejected, Retryable
from schemas.index import SourcePosition
from schemas.settings import Settings

# Faust's defaults are made for stream processing; these are for people who wait (dependency notes F10).
SESSION_TIMEOUT_S: Final = 10.0
"""After this long without a heartbeat a killed worker's partitions go to another (Faust: 60)."""
HEARTBEAT_S: Final = 3.0
REQUEST_TIMEOUT_S: Final = 30.0
COMMIT_INTERVAL_S: Final = 0.5
CONSUMER: Final = "query-worker"
"""Under this name the embedded broker's producers are held back until queries were answered."""
BUFFERED_QUERIES: Final = 64
"""Queries taken from Kafka ahead of the pool (Faust: 4096, which grow stale)."""
ENDS_TIMEOUT_S: Final = 2.0

_log = structlog.get_logger(__name__)


def build_app(
    settings: Settings, link: KafkaLink, pipeline: Pipeline, metrics: QueryMetrics, signatures: Signatures | None = None
) -> QueryApp:
    """The application, not yet started; touches no broker. Call it inside the event loop that will run it."""
    tolerate_header_names()
    # Faust makes its folder, but not that one's parents.
    (settings.data_dir / "faust").mkdir(parents=True, exist_ok=True)
    app = faust.App(settings.kafka.query_group, **_options(settings, link))
    app.transport = _Transport(app.conf.broker_consumer, app)
    app.transport.fetch_wait_ms = EMBEDDED_FETCH_WAIT_MS if link.embedded else None
    if link.backlog is not None:
        link.backlog.register(settings.kafka.topics.queries, CONSUMER)
    worker = partial(QueryWorker, settings, pipeline, metrics=metrics, signatures=signatures)
    return QueryApp(app, settings.kafka.topics.queries, link, lambda send: worker(send=send))


class QueryApp:
    """A Faust app and the worker behind its one agent."""

    def __init__(self, app: Any, queries: str, link: KafkaLink, worker: Callable[[Send], QueryWorker]) -> None:
        self.app = app
        self._queries = queries
        self._backlog: Backlog | None = link.backlog
        self._metadata = Metadata(link)
        self._topics: dict[str, Any] = {}
        self.worker = worker(self._send)
        app.agent(self._topic(queries), concurrency=1, name="queries")(self._consume)
        app.on_partitions_assigned.connect(self._assigned)

    def give_up(self) -> int:
        """End queries in flight without an answer or an acknowledgement; returns how many. For a stop that takes too long."""
        given_up = self.worker.cancel()
        self.app.consumer.unacked.clear()  # else Faust waits for them for ever
        return given_up

    async def _assigned(self, _app: Any, assigned: Any, **_: Any) -> None:
        """Before a message of them comes: what lies below their ends now may have been begun by another worker."""
        partitions = sorted(place.partition for place in assigned if place.topic == self._queries)
        if not partitions:
            return
        self.worker.attempts.forget((self._queries, partition) for partition in partitions)
        ask = partial(self._metadata.ends, self._queries, partitions, ENDS_TIMEOUT_S)
        try:
            ends = await asyncio.get_running_loop().run_in_executor(None, ask)
        except RagError as exc:
            _log.warning("ends_not_known", error=str(exc), effect="answers are numbered by the clock")
            return
        self.worker.attempts.assigned({(self._queries, partition): end for partition, end in ends.items()})

    async def _consume(self, stream: Any) -> None:
        # noack: the worker acknowledges, in order, when the answer is out. Nothing in here may raise: Faust would skip
        # the message and commit past it (faust#604).
        events: AsyncIterable[Any] = stream.noack().events()
        async for event in events:
            message = _message(event)
            await self.worker.take(Taken(message, partial(self._acknowledge, event, message)))

    def _acknowledge(self, event: Any, message: QueryMessage) -> None:
        event.ack()
        if self._backlog is not None:
            self._backlog.progressed(message.topic, CONSUMER, message.source.partition, message.source.offset + 1)

    async def _send(self, message: Outgoing) -> None:
        headers = list(message.headers) or None
        try:
            delivered = await self._topic(message.topic).send(key=message.key, value=message.value, headers=headers)
            await delivered
        except MessageSizeTooLargeError as exc:
            detail = f"{len(message.value)} bytes are more than RAG_KAFKA__MAX_MESSAGE_BYTES allows for {message.topic}"
            msg = "answer_too_large"
            raise Rejected(msg, detail) from exc
        except (KafkaError, faust.exceptions.FaustError) as exc:
            if isinstance(exc.__cause__, MessageSizeTooLargeError):
                msg = "answer_too_large"
                raise Rejected(msg, f"{len(message.value)} bytes are too large for {message.topic}") from exc
            msg = f"{message.topic}: {exc!r}"
            raise Retryable(msg) from exc

    def _topic(self, name: str) -> Any:
        if name not in self._topics:
            self._topics[name] = self.app.topic(
                name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
            )
        return self._topics[name]


def _message(event: Any) -> QueryMessage:
    raw = event.message
    return QueryMessage(
        topic=raw.topic,
        source=SourcePosition(raw.partition, raw.offset),
        key=raw.key,
        value=raw.value,
        headers=tuple((name, bytes(value or b"")) for name, value in _pairs(raw.headers)),
        timestamp_ms=round((raw.timestamp or 0) * 1000),
    )


def _pairs(headers: Any) -> list[tuple[str, bytes]]:
    return list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())


def _options(settings: Settings, link: KafkaLink) -> dict[str, Any]:
    kafka = settings.kafka
    return {
        **faust_config(kafka, link.bootstrap, embedded=link.embedded),
        "autodiscover": False,
        "datadir": str(settings.data_dir / "faust"),
        "web_enabled": False,
        "web_tables_enabled": False,
        "web_router_enabled": False,
        "topic_allow_declare": False,
        "topic_disable_leader": True,
        "consumer_auto_offset_reset": "earliest",
        "consumer_max_fetch_size": max(1 << 20, kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES),
        "broker_session_timeout": SESSION_TIMEOUT_S,
        "broker_heartbeat_interval": HEARTBEAT_S,
        "broker_request_timeout": REQUEST_TIMEOUT_S,
        "broker_commit_interval": COMMIT_INTERVAL_S,
        "producer_request_timeout": REQUEST_TIMEOUT_S,
        "producer_acks": -1,
        "producer_max_request_size": kafka.max_message_bytes + MESSAGE_HEADROOM_BYTES,
        "producer_compression_type": None if kafka.compression == "none" else kafka.compression,
        "stream_buffer_maxsize": BUFFERED_QUERIES,
        # A rebalance and a stop wait for the queries in flight; their deadlines bound it.
        "stream_wait_empty": True,
        "worker_redirect_stdouts": False,
    }


class _DaemonThread(WorkerThread):
    """Faust's consumer thread would keep the process alive for ever when Kafka is away at the end."""

    def __init__(self, service: Any, **options: Any) -> None:
        super().__init__(service, **options)
        self.daemon = True


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    Worker = _DaemonThread

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        if transport.fetch_wait_ms is not None:
            consumer._fetch_max_wait_ms = transport.fetch_wait_ms
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class _Transport(driver.Transport):
    """`fetch_wait_ms`: Faust waits 1.5 s and has no setting for it; the in-process broker doesn't wake a waiting fetch."""

    Consumer = _Consumer
    fetch_wait_ms: int | None = None
