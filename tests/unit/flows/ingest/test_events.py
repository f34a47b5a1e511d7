"""Decoding: whatever bytes come, a value comes out; what is rejected takes away from readers, and never gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.records import Record
from flows.ingest.events import Event, Rejection, dead_letter, decode
from schemas.acl import principals_of
from schemas.documents import DocumentChange
from schemas.index import DocKey
from schemas.join import DocumentState, join
from schemas.settings import IndexSettings
from schemas.wire import MAX_VERSION, from_ms
from tests import messages

NOW_MS = 1_760_000_000_000
ONE = {"docs": IndexSettings()}
TWO = {"docs": IndexSettings(), "tickets": IndexSettings(versions="producer")}
PEOPLE = [principals_of(names) for names in ([], ["user:a"], ["group:g"], ["user:a", "group:g"])]

record_headers = st.lists(
    st.tuples(
        st.sampled_from(["rag-index", "rag-version", "rag-attempts", "other"]), st.binary(max_size=8) | st.just(b"9" * 5_000)
    ),
    max_size=3,
).map(tuple)


@st.composite
def mutations(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A valid message whose bytes or fields were damaged, with its key."""
    change = draw(messages.changes())
    key, value = change.doc_id.encode(), change.to_bytes()
    if draw(st.booleans()):
        at = draw(st.integers(0, len(value) - 1))
        return key, value[:at] + draw(st.binary(max_size=3)) + value[at + draw(st.integers(0, 3)) :]
    fields = json.loads(value)
    names = [*DocumentChange.model_fields, "acls", "content.text"]
    junk = st.none() | st.booleans() | st.integers() | st.floats() | messages.texts | st.lists(messages.texts, max_size=2)
    for name in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)):
        fields[name] = draw(junk | messages.acls.map(list) | st.dictionaries(messages.texts, st.integers(), max_size=2))
    return key, json.dumps(fields).encode()


def _decode(value: bytes | None, key: bytes | None = b"a", indexes: Any = None, headers: Any = ()) -> Event | Rejection:
    return decode(Record("rag.documents", 0, 5, NOW_MS, key, value, headers), indexes or ONE)


def _rejected(indexes: Any = None, headers: Any = (), **fields: Any) -> Rejection:
    decoded = _decode(json.dumps({"doc_id": "a"} | fields).encode(), b"a", indexes, headers)
    assert isinstance(decoded, Rejection)
    return decoded


@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=20), record_headers, st.sampled_from([ONE, TWO]))
def test_any_bytes(value: bytes | None, key: bytes | None, headers: Any, indexes: Any) -> None:
    """Never an exception."""
    assert isinstance(_decode(value, key, indexes, headers), Event | Rejection)


@given(mutations(), record_headers, st.sampled_from([ONE, TWO]), st.integers(-1, 2**62))
def test_damaged_messages(message: tuple[bytes, bytes], headers: Any, indexes: Any, timestamp_ms: int) -> None:
    """Never an exception either; an event bears the key it came with, a rejection a reason and a detail."""
    key, value = message
    decoded = decode(Record("rag.documents", 0, 5, timestamp_ms, key, value, headers), indexes)
    if isinstance(decoded, Event):
        assert decoded.key.doc_id.encode() == key
        assert 0 <= decoded.version <= MAX_VERSION
    else:
        assert decoded.reason
        assert decoded.detail


@given(messages.changes())
def test_valid_messages(change: DocumentChange) -> None:
    """An event where the index is known and orders as the message does."""
    index = {change.index: IndexSettings(versions="timestamp" if change.version is None else "producer", max_future_skew_s=1e12)}
    decoded = _decode(change.to_bytes(), change.doc_id.encode(), index)
    assert isinstance(decoded, Event)
    assert decoded.change == change


@given(mutations(), messages.states, messages.states)
def test_salvage_only_narrows(message: tuple[bytes, bytes], before: DocumentState, older: DocumentState) -> None:
    """Joined to any state of older versions, it lets nobody read who couldn't, and nothing live any longer."""
    key, value = message
    decoded = _decode(value, key)
    if isinstance(decoded, Event) or decoded.salvage is None:
        return
    shown = join(before, older)
    after = join(shown, decoded.salvage)
    if shown.version >= decoded.salvage.version:
        return
    for who in PEOPLE:
        assert not after.readable_by(who) or shown.readable_by(who) or shown.content is None
    for at_ms in (0, NOW_MS, NOW_MS * 2):
        assert not after.is_live(at_ms) or shown.is_live(at_ms)
    assert after.content == shown.content


def test_an_acl_beside_a_typo_applies() -> None:
    """Principals that are none are left out of it."""
    rejection = _rejected(op="upsert", content={"text": "x"}, acls=[], acl=["user:a", "boss", 5])
    assert rejection.reason == "invalid"
    assert rejection.key == DocKey("docs", "a")
    assert rejection.salvage is not None
    assert [entry.allow for entry in rejection.salvage.access] == [("user:a",)]


@pytest.mark.parametrize("junk", ["NaN", "1e999", "9" * 400, '"\\u0000"'])
def test_an_acl_beside_an_odd_number_applies(junk: str) -> None:
    """Also where another JSON parser would refuse the whole message: Python's writes NaN by default."""
    raw = b'{"op":"upsert","doc_id":"a","acl":["user:a"],"content":{"text":"x"},"metadata":{"n":%s}}' % junk.encode()
    rejection = _decode(raw)
    assert isinstance(rejection, Rejection)
    assert rejection.salvage is not None
    assert rejection.salvage.access[0].allow == ("user:a",)


@pytest.mark.parametrize(
    ("fields", "ends_ms"),
    [
        ({"expires_at": "2025-10-10T00:00:00Z"}, 1_760_054_400_000),
        ({"ttl_seconds": 60}, NOW_MS + 60_000),
        ({"ttl_seconds": 60, "expires_at": "2025-10-10T00:00:00Z"}, NOW_MS + 60_000),
        ({"expires_at": None}, None),
        ({"expires_at": "soon"}, None),
        ({"ttl_seconds": True}, None),
    ],
)
def test_an_earlier_end_applies(fields: dict[str, Any], ends_ms: int | None) -> None:
    """As an end that may only shorten; removing one is no narrowing."""
    salvage = _rejected(op="upsert", content={"text": "x"}, typo=1, **fields).salvage
    assert salvage is not None
    assert [(entry.at_ms, entry.extends) for entry in salvage.expiry] == ([] if ends_ms is None else [(ends_ms, False)])


def test_a_rejected_delete_leaves_it_to_the_operator() -> None:
    """As JSON and as a null value."""
    headers = (("rag-version", b"three"),)
    tombstone = _decode(None, headers=headers)
    assert isinstance(tombstone, Rejection)
    for rejection in (_rejected(op="delete", typo=1), tombstone):
        assert rejection.salvage is not None
        assert rejection.salvage.access[0].allow == ()


@pytest.mark.parametrize(
    "rejection",
    [
        lambda: _rejected(op="upsert", acl=[], index="nope"),
        lambda: _rejected(TWO, op="upsert", acl=[], index="tickets", content={"text": "x"}),
        lambda: _rejected(op="delete", event_time="2999-01-01T00:00:00Z"),
        lambda: _rejected(op="delete", doc_id="another"),
        lambda: _decode(None, indexes=TWO),
        lambda: _decode(b"{"),
        lambda: _decode(b'{"op":"delete","doc_id":"a\\u0000"}', b"a\x00"),
    ],
    ids=["unknown index", "no version", "in the future", "another key", "which index?", "no JSON", "no valid doc_id"],
)
def test_what_cannot_be_placed_changes_nothing(rejection: Any) -> None:
    """Without a document, an index and a version nothing can be told to apply."""
    assert (rejection().key, rejection().salvage) == (None, None)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (b"8", None),
        (b"08", None),
        (b"", "invalid"),
        (b"-1", "invalid"),
        (b"1_0", "invalid"),
        ("٣".encode(), "invalid"),
        (b"9" * 5_000, "invalid"),
        (str(2**53).encode(), "invalid"),
        (str(2**53 - 1).encode(), None),
    ],
)
def test_a_tombstones_version(version: bytes, reason: str | None) -> None:
    """Decimal digits, however many come."""
    decoded = _decode(None, b"T", TWO, (("rag-index", b"tickets"), ("rag-version", version)))
    assert (decoded.reason if isinstance(decoded, Rejection) else None) == reason


def test_a_tombstone_needs_its_index_where_there_are_several() -> None:
    """Deleting in the wrong one silently would leave text visible."""
    decoded = _decode(None, indexes=TWO)
    assert isinstance(decoded, Rejection)
    assert decoded.reason == "index_missing"


@pytest.mark.parametrize("key", [None, b"", b"b", b"\xff", b'"a"', b"a "])
def test_the_key_is_the_doc_id(key: bytes | None) -> None:
    """Byte for byte."""
    decoded = _decode(b'{"op":"delete","doc_id":"a"}', key)
    assert isinstance(decoded, Rejection)
    assert decoded.reason == "key_mismatch"


def test_unreadable_headers_are_a_rejection() -> None:
    """They may name an index or a version; the dead letter says that they are left out."""
    record = Record("t", 0, 0, NOW_MS, b"a", b'{"op":"delete","doc_id":"a"}', (), has_unreadable_headers=True)
    decoded = decode(record, ONE)
    assert isinstance(decoded, Rejection)
    assert decoded.reason == "unreadable_headers"
    assert not dead_letter(record, decoded.reason, decoded.detail, NOW_MS).is_complete


@pytest.mark.parametrize("sent_ms", [0, NOW_MS, 4_000_000_000_000], ids=["1970", "now", "2096"])
def test_skew_is_bounded_by_the_time_of_the_message_itself(sent_ms: int) -> None:
    """300 s ahead of its Kafka timestamp pass, more don't: whatever clock reads it, and whenever it does so again."""
    changes = [{"op": "upsert", "doc_id": "a", "event_time": from_ms(sent_ms + ahead)} for ahead in (300_000, 300_001)]
    values = [DocumentChange.model_validate(change | {"content": {"text": "x"}}).to_bytes() for change in changes]
    accepted, rejected = (decode(Record("t", 0, 0, sent_ms, b"a", value), ONE) for value in values)
    assert isinstance(accepted, Event)
    assert accepted.version == sent_ms + 300_000
    assert isinstance(rejected, Rejection)
    assert (rejected.reason, rejected.salvage) == ("time_in_future", None)


def test_a_message_without_any_time_is_rejected() -> None:
    """Brokers say -1 where there is none."""
    decoded = decode(Record("t", 0, 0, -1, b"a", b'{"op":"delete","doc_id":"a"}'), ONE)
    assert isinstance(decoded, Rejection)
    assert decoded.reason == "invalid"


@pytest.mark.parametrize(
    ("index", "remedy"),
    [("hr", "RAG_INDEXES__hr__VERSIONS=timestamp"), ("team-hr", """RAG_INDEXES='{"team-hr": {"versions": "timestamp"}}'""")],
)
def test_an_index_that_is_not_there_is_told_as_a_shell_can_add_it(index: str, remedy: str) -> None:
    """A variable with a dash in its name can't be exported."""
    rejected = _rejected(op="upsert", acl=[], index=index, content={"text": "x"})
    assert rejected.reason == "unknown_index"
    assert remedy in rejected.detail


def test_how_an_index_orders_is_told_as_a_shell_can_set_it() -> None:
    """The same for a version that the index doesn't take."""
    indexes = {"docs": IndexSettings(), "team-hr": IndexSettings()}
    rejected = _rejected(indexes, op="upsert", acl=[], index="team-hr", version=3, content={"text": "x"})
    assert rejected.reason == "version_not_allowed"
    assert """RAG_INDEXES='{"team-hr": {"versions": "producer"}}'""" in rejected.detail
