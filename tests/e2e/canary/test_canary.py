"""The canary through the whole write path: the view never states to be fresher than it is, and one that lies is caught."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connectors.kafka import KafkaLink, partitions_of
from connectors.milvus import LiteServer
from query_api.canary import Canary, CanaryMetrics, Point
from query_api.canary.documents import PREFIX
from query_api.canary.watch import STOP_TIMEOUT_S
from query_api.view import IndexView, KafkaViewLog
from schemas.acl import OPERATOR, principals_of
from schemas.errors import Misconfigured
from schemas.queries import AsOf
from schemas.settings import Settings
from tests.servers.plugin import KafkaFactory
from tests.stacks import IngestStack, embedded_stack, real_stack, stack_settings
from tests.waiting import wait_until

WITHIN_S = 20.0
ANN = principals_of(["user:ann"])
CANARY: dict[str, object] = {"interval_s": 0.05, "documents_per_partition": 2}


@pytest.fixture(params=["embedded", pytest.param("real", marks=[pytest.mark.kafka, pytest.mark.milvus, pytest.mark.slow])])
def stack(request: pytest.FixtureRequest, tmp_path: Path, topic_prefix: str) -> Iterator[IngestStack]:
    """Nothing ingests yet."""
    if request.param == "embedded":
        with embedded_stack(tmp_path, stack_settings(tmp_path, canary=CANARY)) as made:
            yield made
        return
    kafka, milvus = request.getfixturevalue("kafka_server"), request.getfixturevalue("milvus_server")
    settings = stack_settings(tmp_path, f"{topic_prefix}.", canary=CANARY, milvus={"token": milvus.token})
    with real_stack(tmp_path, settings, kafka.bootstrap_servers, milvus.uri) as made:
        yield made


class Watched:
    """A view and its canary, and every look at it."""

    def __init__(self, stack: IngestStack, kind: type[IndexView] = IndexView) -> None:
        self.view = kind(stack.settings, KafkaViewLog(stack.link))
        self.registry = CollectorRegistry()
        self.points: list[Point] = []
        self.canary = Canary(stack.settings, stack.link, self.view, CanaryMetrics(self.registry), listen=self.points.append)
        self.view.start()
        self.canary.start()

    def metric(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    @property
    def true_lag_s(self) -> float:
        return self.points[-1].true_lag_s if self.points else 0.0

    def shown(self) -> int:
        """Canaries that became visible."""
        return round(self.metric("rag_query_canaries_total", end="visible"))

    def close(self) -> None:
        self.canary.stop()
        self.view.stop()


def flown(watched: Watched, count: int) -> bool:
    """More than `count` canaries became visible."""
    return watched.shown() > count


@pytest.mark.timeout(120)
def test_the_stated_lag_is_never_below_the_true_one(stack: IngestStack) -> None:
    """Ingest stands still, works, stands still again: the true lag rises and falls, and the stated one stays above it."""
    watched = Watched(stack)
    try:
        wait_until(lambda: watched.true_lag_s > 1.0, within_s=WITHIN_S, what="a true lag that rises while nothing ingests")
        partitions = len(partitions_of(stack.link, stack.settings.kafka.topics.documents))
        with stack.ingesting():
            wait_until(lambda: watched.shown() > 5 * 2 * partitions, within_s=WITHIN_S, what="canaries to be shown")
        wait_until(lambda: watched.true_lag_s > 1.0, within_s=WITHIN_S, what="a true lag that rises again")
    finally:
        watched.close()
    stated = [(point.stated_lag_s, point.true_lag_s) for point in watched.points if point.stated_lag_s is not None]
    assert all(said + 0.001 >= true for said, true in stated)
    assert watched.metric("rag_query_canary_violations_total") == 0
    assert watched.metric("rag_query_canary_visible_seconds_count") == watched.shown()
    assert watched.metric("rag_query_canary_true_lag_seconds") > 1.0
    assert watched.metric("rag_query_canary_stated_lag_seconds") > 1.0


def test_nobody_but_the_operator_may_read_it(stack: IngestStack) -> None:
    """Neither its text nor that it exists; and there are never more documents than it was given."""
    watched = Watched(stack)
    try:
        with stack.ingesting():
            wait_until(lambda: watched.shown() > 20, within_s=WITHIN_S, what="canaries to be shown")
            with watched.view.snapshot() as snapshot:
                keys = list(snapshot.keys())
                found = [document for key in keys if (document := snapshot.document(key)) is not None]
                assert found and all(document.key.doc_id.startswith(PREFIX) for document in found)
                assert len(keys) <= 2 * stack.settings.kafka.partitions
                assert not any(snapshot.is_readable(document, ANN, 0) for document in found)
                assert all(snapshot.is_readable(document, frozenset((OPERATOR,)), 0) for document in found)
                assert snapshot.readable_rows(ANN, 0, 1000) == {}
    finally:
        watched.close()


class Lying(IndexView):
    """States that everything published until now is reflected."""

    def as_of(self) -> AsOf:
        return super().as_of().model_copy(update={"lag_ms": 0})


def test_a_view_that_lies_is_caught(tmp_path: Path) -> None:
    """Each canary that it hides is one violation, however often it is looked at."""
    with embedded_stack(tmp_path, stack_settings(tmp_path, canary=CANARY)) as stack:
        watched = Watched(stack, Lying)
        try:
            wait_until(lambda: len(watched.points) > 20, within_s=WITHIN_S, what="looks at the view")
            wait_until(
                lambda: watched.metric("rag_query_canary_violations_total") == 2 * stack.settings.kafka.partitions,
                within_s=WITHIN_S,
                what="every canary to be called a violation",
            )
        finally:
            watched.close()


def test_a_restarted_worker_uses_the_same_documents(tmp_path: Path) -> None:
    """Restarts leave nothing behind, and a second life's canaries are newer than the first one's."""
    with embedded_stack(tmp_path, stack_settings(tmp_path, canary=CANARY)) as stack, stack.ingesting():
        for _ in range(2):
            watched = Watched(stack)
            try:
                wait_until(partial(flown, watched, 10), within_s=WITHIN_S, what="canaries to be shown")
                with watched.view.snapshot() as snapshot:
                    assert len(list(snapshot.keys())) <= 2 * stack.settings.kafka.partitions
            finally:
                watched.close()
            assert watched.metric("rag_query_canary_violations_total") == 0


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_goes_on_after_kafka_was_away(kafka_factory: KafkaFactory, tmp_path: Path) -> None:
    """What nobody took is counted, and is no violation; with Kafka back canaries fly again. It never holds up a stop for long."""
    server, lite = kafka_factory(), LiteServer(tmp_path / "milvus.db")
    settings = stack_settings(tmp_path, canary=CANARY)
    try:
        with real_stack(tmp_path, settings, server.address.bootstrap_servers, lite.start()) as stack, stack.ingesting():
            watched = Watched(stack)
            wait_until(lambda: watched.shown() > 0, within_s=WITHIN_S, what="a canary to be shown")
            server.kill()
            lost = "rag_query_canaries_total"
            wait_until(lambda: watched.metric(lost, end="not_acknowledged") > 0, within_s=60, what="a canary that nobody takes")
            server.start()
            before = watched.shown()
            wait_until(lambda: watched.shown() > before + 8, within_s=60, what="canaries to fly again")
            began = time.monotonic()
            watched.close()
            assert time.monotonic() - began < STOP_TIMEOUT_S
            assert watched.metric("rag_query_canary_violations_total") == 0
    finally:
        lite.close()


def test_it_stops_at_once_while_there_is_no_kafka(tmp_path: Path) -> None:
    """Nothing to send to from the start on."""
    settings = stack_settings(tmp_path, canary=CANARY)
    link = KafkaLink(settings.kafka, "127.0.0.1:1")
    canary = Canary(settings, link, IndexView(settings, KafkaViewLog(link)), CanaryMetrics(CollectorRegistry()))
    canary.start()
    began = time.monotonic()
    canary.stop()
    assert time.monotonic() - began < STOP_TIMEOUT_S


def test_an_index_that_there_is_not_is_refused(tmp_path: Path) -> None:
    """With its name and those that there are."""
    settings = Settings.model_validate({"data_dir": tmp_path, "canary": {"interval_s": 1, "index": "hr"}})
    link = KafkaLink(settings.kafka, "127.0.0.1:1")
    view = IndexView(settings, KafkaViewLog(link))
    with pytest.raises(Misconfigured, match=r"RAG_CANARY__INDEX: no such index: 'hr'; there are: docs"):
        Canary(settings, link, view, CanaryMetrics(CollectorRegistry()))
