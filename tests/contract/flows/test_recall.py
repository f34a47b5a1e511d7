"""An earlier event is read again from the log: later, where Kafka is away, and not at all where retention has dropped it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # reason: documented there
from structlog.testing import capture_logs

from connectors.blobs import open_blob_store
from connectors.kafka import KafkaLink, OutRecord, Producer
from connectors.parsing import FileParser
from flows.chunking import Chunker
from flows.ingest.patience import Patience
from flows.ingest.resolve import ContentResolver
from schemas.documents import DocumentChange, InlineText
from schemas.errors import Retryable
from schemas.index import SourcePosition
from schemas.settings import BlobSettings, IndexSettings, KafkaSettings, ParsingSettings
from tests.servers.kafka import KafkaAddress
from tests.servers.plugin import KafkaFactory
from tests.unit.flows.chunking.tokenizers_for_tests import WordTokenizer
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(180), pytest.mark.slow]
WITHIN_S = 60.0


def made(bootstrap: str, topic: str) -> AdminClient:
    """With the texts 0, 1 and 2 in `topic`."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result(20)
    wait_until(lambda: topic in admin.list_topics(timeout=10).topics, within_s=20, what="the topic to be known")
    with closing(Producer(KafkaLink(KafkaSettings(), bootstrap))) as producer:
        for text in ("0", "1", "2"):
            content = InlineText(text=text)
            change = DocumentChange(op="upsert", doc_id="a", event_time=datetime(2026, 1, 1, tzinfo=UTC), content=content)
            producer.send(OutRecord(topic, b"a", change.to_bytes()))
        producer.flush(30)
    return admin


def recaller(bootstrap: str, topic: str, give_up: threading.Event) -> Callable[[int], str | None]:
    """The text of the event at an offset."""
    resolver = ContentResolver(
        KafkaLink(KafkaSettings(), bootstrap),
        topic,
        indexes={"docs": IndexSettings()},
        blobs=open_blob_store(BlobSettings()),
        blob_settings=BlobSettings(),
        parser=FileParser(ParsingSettings()),
        parsing=ParsingSettings(),
        chunker=Chunker(WordTokenizer()),
        patience=Patience(give_up, 0.5),
    )

    def recall(offset: int) -> str | None:
        event = resolver.recall(SourcePosition(0, offset))
        content = event.change.content if event is not None else None
        assert content is None or isinstance(content, InlineText)
        return content.text if content is not None else None

    return recall


def test_an_event_is_read_again_once_kafka_is_back(kafka_factory: KafkaFactory, topic_prefix: str) -> None:
    """However long it was away: to give the text up would hide it for good."""
    server = kafka_factory()
    made(server.bootstrap_servers, topic_prefix)
    recall = recaller(server.bootstrap_servers, topic_prefix, threading.Event())
    assert recall(1) == "1"
    server.kill()
    with ThreadPoolExecutor(1) as pool, capture_logs() as said:
        recalled = pool.submit(recall, 1)
        wait_until(lambda: any(entry["event"] == "waiting" for entry in list(said)), within_s=WITHIN_S, what="it to be said")
        assert not recalled.done()
        server.start()
        assert recalled.result(WITHIN_S) == "1"


def test_whoever_waits_for_kafka_ends_with_the_process() -> None:
    """As an error: the event that asked for the text is not done."""
    give_up = threading.Event()
    give_up.set()
    with pytest.raises(Retryable, match="gave nothing"):
        recaller("127.0.0.1:1", "rag.documents", give_up)(1)


def test_an_event_that_retention_has_dropped_is_none(kafka_server: KafkaAddress, topic_prefix: str) -> None:
    """Nobody waits for it."""
    admin = made(kafka_server.bootstrap_servers, topic_prefix)
    [dropped] = admin.delete_records([TopicPartition(topic_prefix, 0, 2)]).values()
    dropped.result(20)
    recall = recaller(kafka_server.bootstrap_servers, topic_prefix, threading.Event())
    assert (recall(1), recall(2)) == (None, "2")
