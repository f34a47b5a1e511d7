"""Bad input on a log that runs: one dead letter a message, byte for byte; neighbours are indexed, its ACL still narrows."""

from __future__ import annotations

import json
import time
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from connectors.kafka import partition_for_key, partitions_of, read_to_end
from schemas.dead_letters import DeadLetter
from schemas.index import DocKey, SourcePosition
from tests.raw_producer import send_with_header
from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.stacks import IngestStack, embedded_stack, real_stack, stack_settings

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
MAX_MESSAGE_BYTES = 400_000
FIRST, SECOND = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"
NARROW = ["user:ann"]


class Bad(NamedTuple):
    """A message that can't be processed: the reason it gets, and whether its ACL can still be read."""

    value: bytes
    reason: str
    narrows: bool = True


def upsert(doc_id: str, content: dict[str, Any], **more: object) -> bytes:
    fields = {"op": "upsert", "doc_id": doc_id, "event_time": SECOND, "acl": NARROW, "content": content, **more}
    return json.dumps(fields, ensure_ascii=False).encode()


def zip_bomb() -> str:
    """A Word document whose one part unpacks to 40 MB of nothing."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", b"\0" * 40_000_000)
    return b64encode(buffer.getvalue()).decode()


def nested_archive() -> str:
    inner, outer = BytesIO(), BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("document.xml", b"\0" * 1_000_000)
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("word/document.xml.zip", inner.getvalue())
    return b64encode(outer.getvalue()).decode()


def bad_messages(folder: Path) -> dict[str, Bad]:
    """By doc_id."""
    present = folder / "present.md"
    present.write_text("# Present\n\nNot what was meant.\n")
    text = {"text": "# Changed\n\nNobody gets to read this.\n"}
    uri = {"uri": present.as_uri(), "media_type": "text/markdown", "sha256": sha256(b"something else").hexdigest()}
    missing = {**uri, "uri": (folder / "missing.md").as_uri()}
    outside = {**uri, "uri": "file:///etc/passwd"}
    return {
        "not-json": Bad(b"{this is no JSON", "not_json", narrows=False),
        "empty": Bad(b"", "not_json", narrows=False),
        "broken-utf-8": Bad(upsert("broken-utf-8", text).replace(b"Changed", b"Ch\xffnged"), "not_json", narrows=False),
        "wrong-type": Bad(upsert("wrong-type", text, title=7), "invalid"),
        "misspelt-field": Bad(upsert("misspelt-field", text, contents=1), "invalid"),
        "unknown-op": Bad(upsert("unknown-op", text, op="replace"), "unknown_op"),
        "unknown-schema-version": Bad(upsert("unknown-schema-version", text, schema_version=9), "unknown_schema_version"),
        "unknown-media-type": Bad(upsert("unknown-media-type", {**text, "media_type": "text/x-fortran"}), "invalid"),
        "from-the-future": Bad(
            upsert("from-the-future", text, event_time="2999-01-01T00:00:00Z"), "time_in_future", narrows=False
        ),
        "too-large": Bad(upsert("too-large", {"text": "word " * 50_000}), "too_large"),
        # Fits into a message; with the list of its passages it doesn't.
        "oversize-manifest": Bad(upsert("oversize-manifest", {"text": "漢字仮名。" * 25_300}), "manifest_too_large"),
        "missing-file": Bad(upsert("missing-file", missing), "not_found"),
        "wrong-hash": Bad(upsert("wrong-hash", uri), "hash_mismatch"),
        "outside-roots": Bad(upsert("outside-roots", outside), "outside_roots"),
        "not-utf-8": Bad(
            upsert("not-utf-8", {"base64": b64encode(b"\xff\xfe\x01").decode(), "media_type": "text/plain"}), "not_utf8"
        ),
        "no-docx": Bad(upsert("no-docx", {"base64": b64encode(b"no archive").decode(), "media_type": DOCX}), "malformed"),
        "zip-bomb": Bad(upsert("zip-bomb", {"base64": zip_bomb(), "media_type": DOCX}), "archive_ratio"),
        "archive-in-archive": Bad(
            upsert("archive-in-archive", {"base64": nested_archive(), "media_type": DOCX}), "archive_nested"
        ),
    }


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.slow)])
def stack(request: pytest.FixtureRequest, tmp_path: Path, unique_name: str) -> Iterator[IngestStack]:
    sections: dict[str, Any] = {
        "kafka": {"max_message_bytes": MAX_MESSAGE_BYTES},
        "parsing": {"max_output_chars": 240_000},
        "blobs": {"file_roots": [str(tmp_path)]},
    }
    if request.param == "embedded":
        with embedded_stack(tmp_path, stack_settings(tmp_path, **sections)) as embedded:
            yield embedded
        return
    kafka: KafkaAddress = request.getfixturevalue("kafka_server")
    milvus: MilvusAddress = request.getfixturevalue("milvus_server")
    settings = stack_settings(tmp_path, f"{unique_name}.", **sections)
    with real_stack(tmp_path, settings, kafka.bootstrap_servers, milvus.uri) as real:
        yield real


def dead_letters(stack: IngestStack) -> dict[SourcePosition, DeadLetter]:
    topic = stack.settings.kafka.topics.dead_letters
    found = [record for p in partitions_of(stack.link, topic) for record in read_to_end(stack.link, topic, p)]
    letters = [DeadLetter.from_wire(record.value, list(record.headers)) for record in found]
    by_source = {letter.source: letter for letter in letters}
    assert len(by_source) == len(letters), "one dead letter a message"
    return by_source


def sources(stack: IngestStack) -> dict[SourcePosition, tuple[bytes | None, bytes | None]]:
    """Everything in `rag.documents`, by where it is."""
    topic = stack.settings.kafka.topics.documents
    records = [record for p in partitions_of(stack.link, topic) for record in read_to_end(stack.link, topic, p)]
    return {SourcePosition(record.partition, record.offset): (record.key, record.value) for record in records}


@pytest.mark.timeout(180)
def test_each_is_one_dead_letter_and_touches_no_other(stack: IngestStack, tmp_path: Path) -> None:
    """Documents open to all, then a bad newer version of each, with good messages between them."""
    bad = bad_messages(tmp_path)
    old = [
        (doc_id.encode(), upsert(doc_id, {"text": f"# Old\n\nThe old text of {doc_id}.\n"}, event_time=FIRST, acl=["*"]))
        for doc_id in bad
    ]
    stack.publish_raw(old)
    stack.ingest()
    neighbours = [f"neighbour-{n}" for n in range(2 * len(bad))]
    good = iter((name.encode(), upsert(name, {"text": f"# Good\n\nA good {name}.\n"}, acl=["*"])) for name in neighbours)
    published = 0
    for doc_id, message in bad.items():
        published += stack.publish_raw([next(good), (doc_id.encode(), message.value), next(good)])
    # A key that is not the document's, and none at all.
    stray = upsert("stray", {"text": "x"})
    stack.publish_raw([(b"another", stray), (None, stray)])
    stack.ingest()

    letters = dead_letters(stack)
    published_at = sources(stack)
    reasons = {(letter.key or b"").decode(): letter.reason for letter in letters.values() if letter.raw != stray}
    assert reasons == {doc_id: message.reason for doc_id, message in bad.items()}
    assert sorted(letter.reason for letter in letters.values() if letter.raw == stray) == ["key_mismatch", "key_mismatch"]
    for source, letter in letters.items():
        assert (letter.key, letter.raw) == published_at[source]
        assert letter.topic == stack.settings.kafka.topics.documents
        assert letter.attempts == 1
        assert letter.detail

    log = stack.log()
    live = log.live(time.time_ns() // 1_000_000)
    assert {DocKey("docs", name) for name in neighbours} <= set(live)
    assert DocKey("docs", "stray") not in live
    for doc_id, message in bad.items():
        key = DocKey("docs", doc_id)
        assert live[key].text.strip().endswith(f"The old text of {doc_id}.")
        state = log.states[key]
        lists = state.allow_lists(())
        assert (tuple(NARROW) in lists) == message.narrows, (doc_id, lists)
        assert (state.failed > live[key].registers.content[0]) == message.narrows  # type: ignore[index]
    outcomes = [outcome for partition in log.markers for _, outcome in log.outcomes(partition)]
    assert outcomes.count("dead-lettered") == len(letters) == len(bad) + 2


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_message_that_grows_when_it_is_unpacked_stops_nothing(
    tmp_path: Path, kafka_server: KafkaAddress, milvus_server: MilvusAddress, unique_name: str
) -> None:
    """A producer's compression brings it past every limit: its dead letter says where it is, in place of repeating it."""
    settings = stack_settings(tmp_path, f"{unique_name}.", kafka={"max_message_bytes": MAX_MESSAGE_BYTES})
    with real_stack(tmp_path, settings, kafka_server.bootstrap_servers, milvus_server.uri) as stack:
        topic = settings.kafka.topics.documents
        grown = upsert("grown", {"text": "word " * 200_000})
        producer = Producer(
            {
                "bootstrap.servers": stack.link.bootstrap,
                "compression.type": "gzip",
                "message.max.bytes": 10 * MAX_MESSAGE_BYTES,
                "partitioner": "murmur2_random",
            }
        )
        failures: list[object] = []
        producer.produce(topic, grown, b"grown", on_delivery=lambda error, _: failures.append(error) if error else None)
        assert producer.flush(20) == 0
        assert not failures
        stack.publish_raw([(b"after", upsert("after", {"text": "# After\n\nStill indexed.\n"}))])
        stack.ingest()
        [letter] = dead_letters(stack).values()
        assert (letter.key, letter.raw, letter.is_complete, letter.topic) == (b"grown", None, False, topic)
        assert sources(stack)[letter.source] == (b"grown", grown)
        assert set(stack.log().live(time.time_ns() // 1_000_000)) == {DocKey("docs", "after")}


@pytest.mark.timeout(180)
def test_each_header_whose_name_is_no_text_is_one_dead_letter(stack: IngestStack) -> None:
    """Kafka takes any bytes for it: the message is refused with its value, its ACL narrows, its neighbours are indexed."""
    topic = stack.settings.kafka.topics.documents
    stack.publish_raw([(b"odd", upsert("odd", {"text": "# Old\n\nThe old text.\n"}, event_time=FIRST, acl=["*"]))])
    odd = upsert("odd", {"text": "# New\n\nThe new text.\n"})
    partition = partition_for_key(b"odd", stack.settings.kafka.partitions)
    for _ in range(5):  # more than one: Python specialises calls that are made again and again
        send_with_header(stack.link.bootstrap, topic, partition, b"odd", odd, b"na\xffme")
    stack.publish_raw([(b"after", upsert("after", {"text": "# After\n\nStill indexed.\n"}))])
    stack.ingest()
    letter, *others = dead_letters(stack).values()
    assert len(others) == 4
    assert (letter.key, letter.raw, letter.reason, letter.is_complete) == (b"odd", odd, "unreadable_headers", False)
    log = stack.log()
    live = log.live(time.time_ns() // 1_000_000)
    assert set(live) == {DocKey("docs", "odd"), DocKey("docs", "after")}
    assert tuple(NARROW) in log.states[DocKey("docs", "odd")].allow_lists(())
