"""Running the query worker: in a process of its own or in a thread of another, until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog
from aiokafka.errors import KafkaError

from connectors.kafka.link import KafkaLink
from query_api.app import QueryApp, build_app
from query_api.metrics import QueryMetrics
from query_api.stopping import StopSignal
from query_api.worker import Pipeline, Signatures
from schemas.errors import Retryable
from schemas.settings import Settings

STOP_GRACE_S: Final = 5.0
"""Beside the deadline of the queries in flight: time for the last commit and for leaving the group."""

CANCEL_GRACE_S: Final = 1.0
LEAVE_GRACE_S: Final = 5.0
"""After giving up what was late: time for the commit of what was not."""

_log = structlog.get_logger(__name__)


def run(
    settings: Settings,
    link: KafkaLink,
    pipeline: Pipeline,
    metrics: QueryMetrics,
    stop: StopSignal,
    on_started: Callable[[], None] = lambda: None,
    signatures: Signatures | None = None,
) -> None:
    """`serve` in an event loop of its own: what a process or a thread calls. Returns in bounded time after `stop`.

    `asyncio.run` would wait for Faust's tasks for ever when Kafka is away: some of them don't heed cancellation.
    """
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(settings, link, pipeline, metrics, stop, on_started, signatures))
    finally:
        loop.run_until_complete(_cancel_the_rest())
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


async def _cancel_the_rest() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if rest:
        await asyncio.wait(rest, timeout=CANCEL_GRACE_S)


async def serve(
    settings: Settings,
    link: KafkaLink,
    pipeline: Pipeline,
    metrics: QueryMetrics,
    stop: StopSignal,
    on_started: Callable[[], None] = lambda: None,
    signatures: Signatures | None = None,
) -> None:
    """Answer queries until `stop` is set; then finish those in flight, commit and leave the group.

    Can be run again after it has ended. Installs no signal handlers.

    Raises: Retryable, when the Kafka client gave up: start again.
    """
    query_app = build_app(settings, link, pipeline, metrics, signatures)
    app = query_app.app
    app.finalize()
    ended = asyncio.get_running_loop().create_task(stop.wait())
    try:
        await _start(app)
        on_started()
        _log.info("query_worker_started", group=settings.kafka.query_group, topic=settings.kafka.topics.queries)
        await app.wait(ended)
        crash = app.crash_reason
    finally:
        ended.cancel()
        await _stop(query_app, settings.query.deadline_s + STOP_GRACE_S)
    if crash is not None and not stop.is_set:
        msg = f"the query worker's Kafka client gave up: {crash!r}"
        raise Retryable(msg) from crash


async def _start(app: Any) -> None:
    """Raises: Retryable, where Kafka went away, or began to refuse this client, since the view was read from it."""
    try:
        await app.start()
    except KafkaError as exc:
        msg = f"the query worker's Kafka client could not start: {exc}"
        raise Retryable(msg) from exc


async def _stop(query_app: QueryApp, within_s: float) -> None:
    """Let what is in flight end, commit, leave the group. Faust's own drain has no limit; here what is late is given up."""
    query_app.worker.stop_retrying()
    stopping = asyncio.get_running_loop().create_task(query_app.app.stop())
    await asyncio.wait([stopping], timeout=within_s)
    if not stopping.done():
        _log.warning("query_worker_stops_late", given_up=query_app.give_up(), remedy="the next worker answers them")
        await asyncio.wait([stopping], timeout=LEAVE_GRACE_S)
    if not stopping.done():
        # Kafka is away, most likely: it forgets this member after the session timeout.
        _log.warning("query_worker_left_without_goodbye")
        stopping.cancel()
