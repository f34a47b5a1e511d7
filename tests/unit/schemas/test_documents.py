"""`DocumentChange`: strict where a slip would cost somebody their access, forgiving where it costs nothing."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.documents import ContentReference, DocumentChange, InlineBytes
from schemas.errors import Rejected
from schemas.wire import parse
from tests import messages

UPSERT: dict[str, Any] = {"op": "upsert", "doc_id": "a", "content": {"text": "x"}}
MIB = 1024 * 1024


def _parse(**fields: Any) -> DocumentChange:
    return parse(DocumentChange, json.dumps(UPSERT | fields).encode())


def _refusal(raw: bytes) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse(DocumentChange, raw)
    return caught.value


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"\xff", "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b'{"op":"upsert","doc_id":"\\ud800","content":{"text":"x"}}', "not_json"),
        (b'{"op":"upsert","doc_id":"a","version":' + b"9" * 5000 + b"}", "not_json"),
        (b"[" * 200_000, "not_json"),
        (b'{"a":' * 200_000, "not_json"),
        (b"null", "invalid"),
        (b"[]", "invalid"),
        (b'{"op":"upsert","doc_id":"a","content":{"text":"x"},"metadata":{"a":NaN}}', "invalid"),
        (b'{"op":"upsert","doc_id":"a","content":{"text":"x"},"metadata":{"a":-Infinity}}', "invalid"),
        (b'{"op":"upsert","doc_id":"a","content":{"text":"x"},"metadata":{"a":1e999}}', "invalid"),
    ],
    ids=lambda value: value[:40].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_what_is_no_message(raw: bytes, reason: str) -> None:
    """Bytes of all kinds are refused by reason, never by another exception."""
    assert _refusal(raw).reason == reason


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"acls": []}, "invalid"),
        ({"content": {"text": "x", "mediatype": "text/html"}}, "invalid"),
        ({"schema_version": 2}, "unknown_schema_version"),
        ({"schema_version": None}, "unknown_schema_version"),
        ({"schema_version": "1"}, "unknown_schema_version"),
        ({"schema_version": 2, "op": "merge"}, "unknown_schema_version"),
        ({"op": "update"}, "unknown_op"),
        ({"op": None}, "unknown_op"),
        ({"content": {}}, "invalid"),
        ({"content": {"text": "x", "uri": "file:///a"}}, "invalid"),
        ({"content": "x"}, "invalid"),
        ({"content": None}, "invalid"),
        ({"doc_id": "a\nb"}, "invalid"),
        ({"doc_id": 5}, "invalid"),
        ({"title": "a\x00b"}, "invalid"),
        ({"title": ["a"]}, "invalid"),
        ({"index": None}, "invalid"),
        ({"version": True}, "invalid"),
        ({"version": "7"}, "invalid"),
        ({"version": 10**30}, "invalid"),
        ({"acl": ["user:a b"]}, "invalid"),
        ({"acl": ['user:"']}, "invalid"),
        ({"acl": ["user:" + "x" * 191]}, "invalid"),
        ({"ttl_seconds": 60.0}, "invalid"),
        ({"ttl_seconds": 60, "expires_at": "2026-01-01T00:00:00Z"}, "invalid"),
        ({"metadata": None}, "invalid"),
        ({"metadata": {"a": None}}, "invalid"),
        ({"metadata": {"a": [1]}}, "invalid"),
        ({"metadata": {"a": "x\ty"}}, "invalid"),
        ({"metadata": {"a": 2**1100}}, "invalid"),
        ({"metadata": {"1a": 1}}, "invalid"),
        ({"content": {"base64": "aGk", "media_type": "text/plain"}}, "invalid"),
        ({"content": {"base64": "aG k=", "media_type": "text/plain"}}, "invalid"),
        ({"content": {"uri": "file:///a", "media_type": "text/plain"}}, "invalid"),
        ({"op": "delete"}, "invalid"),
        ({"op": "access", "acl": []}, "invalid"),
    ],
    ids=str,
)
def test_strictness(fields: dict[str, Any], reason: str) -> None:
    """Typos, wrong types, limits and fields that don't go with the op are refused."""
    assert _refusal(json.dumps(UPSERT | fields).encode()).reason == reason


@pytest.mark.parametrize(
    "moment",
    [
        1_700_000_000,
        1_700_000_000_000,
        1e300,
        True,
        "1700000000",
        "20260101",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:00 Europe/Berlin",
        "2026-13-01T00:00:00Z",
        "2026-01-01T00:00:00+99:00",
        "٢٠٢٦-01-01T00:00:00Z",
        "",
    ],
)
def test_a_time_is_never_guessed(moment: object) -> None:
    """Numbers (of what?), dates and local times are refused."""
    assert _refusal(json.dumps(UPSERT | {"event_time": moment}).encode()).reason == "invalid"


@pytest.mark.parametrize(
    ("moment", "same"),
    [
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00:00.000000000Z", "2026-01-01T00:00:00Z"),
        ("2026-01-01t00:00:00z", "2026-01-01T00:00:00Z"),
        ("2026-01-01T00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_times_of_several_languages(moment: str, same: str) -> None:
    """Nanoseconds of Java and Go, and Java's habit of leaving out seconds that are zero."""
    assert _parse(event_time=moment).event_time == _parse(event_time=same).event_time


@pytest.mark.parametrize("op", ["upsert", "delete", "access"])
def test_null_is_left_out(op: str) -> None:
    """A serializer that writes null for every empty field does no harm."""
    nullable = ["version", "event_time", "title", "content", "source_uri", "acl", "expires_at", "ttl_seconds"]
    message: dict[str, Any] = {"op": op, "doc_id": "a", "metadata": {}} | dict.fromkeys(nullable)
    extra: dict[str, dict[str, Any]] = {
        "upsert": {"content": {"text": "x"}, "ttl_seconds": 60},
        "access": {"acl": []},
        "delete": {},
    }
    message |= extra[op]
    assert parse(DocumentChange, json.dumps(message).encode()).op == op


def test_null_expiry_is_said() -> None:
    """The exception: on an upsert it removes an earlier end, and leaving it out does not."""
    assert _parse(expires_at=None).carries_expiry
    assert not _parse().carries_expiry


def test_null_acl_is_not_an_empty_one() -> None:
    """null: unchanged. []: nobody but the operator."""
    assert _parse(acl=None).acl is None
    assert _parse(acl=[]).acl == ()


def test_the_last_of_two_counts() -> None:
    """JSON allows a name twice; all parsers involved take the last."""
    raw = b'{"op":"upsert","doc_id":"a","content":{"text":"x"},"acl":["*"],"acl":[]}'
    assert parse(DocumentChange, raw).acl == ()


@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@given(data=st.binary(max_size=100))
def test_base64_is_decoded_once(encode: Any, data: bytes) -> None:
    """What a producer encodes arrives as the file's bytes; both alphabets are read, the standard one is written."""
    content = _parse(content={"base64": encode(data).decode(), "media_type": "text/plain"}).content
    assert isinstance(content, InlineBytes)
    assert content.base64 == data
    assert json.loads(content.model_dump_json())["base64"] == base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(json.dumps(UPSERT | {"title": "x" * 4 * MIB}).encode(), id="title"),
        pytest.param(json.dumps(UPSERT | {"x" * 4 * MIB: 1}).encode(), id="name"),
        pytest.param(json.dumps(UPSERT | {f"k{n}": 1 for n in range(300_000)}).encode(), id="unknown fields"),
        pytest.param(json.dumps(UPSERT | {"metadata": {f"k {n}": 1 for n in range(300_000)}}).encode(), id="metadata"),
        pytest.param(json.dumps(UPSERT | {"metadata": {"k": [1] * 1_200_000}}).encode(), id="metadata list"),
        pytest.param(json.dumps(UPSERT | {"acl": ["x"] * 700_000}).encode(), id="acl"),
    ],
)
def test_a_hostile_message_costs_no_more_than_its_size(raw: bytes) -> None:
    """4 MB of mistakes are refused in processor time that other messages can wait for, with a short detail."""
    began = time.process_time()
    refusal = _refusal(raw)
    assert time.process_time() - began < 5  # about 0.1 to 1; 17 once, with an error for each item
    assert len(refusal.detail) < 1000


def test_a_refusal_quotes_nothing() -> None:
    """The values may be document text; the detail goes to logs."""
    assert "secret" not in _refusal(json.dumps(UPSERT | {"title": ["secret"], "acl": ["secret"], "op": "secret"}).encode()).detail


def _replaced(change: DocumentChange) -> tuple[object, ...]:
    """What an upsert replaces. Of a reference its hash counts, not its place; an empty title is none."""
    content = change.content.identity() if change.content else None
    return content, change.title or None, change.source_uri or None, json.dumps(change.metadata, sort_keys=True)


@given(messages.upserts, messages.upserts)
def test_digest_is_of_what_an_upsert_replaces(one: DocumentChange, other: DocumentChange) -> None:
    """Equal exactly if content, title, source_uri and metadata are; nothing else matters."""
    assert (one.content_digest() == other.content_digest()) == (_replaced(one) == _replaced(other))
    moved = one.model_copy(update={name: getattr(other, name) for name in ("doc_id", "index", "version", "event_time", "acl")})
    assert moved.content_digest() == one.content_digest()


@given(messages.upserts, st.data())
def test_each_part_changes_the_digest(change: DocumentChange, data: st.DataObject) -> None:
    """Another title, uri, metadata or content is another digest."""
    strategies: dict[str, Any] = {
        "title": messages.lines,
        "source_uri": messages.lines,
        "metadata": messages.metadata,
        "content": messages.contents,
    }
    name = data.draw(st.sampled_from(sorted(strategies)))
    changed = change.model_copy(update={name: data.draw(strategies[name])})
    assume(_replaced(changed) != _replaced(change))
    assert changed.content_digest() != change.content_digest()


@given(messages.metadata)
def test_order_of_metadata_does_not_matter(metadata: dict[str, Any]) -> None:
    """Producers' maps come in any order."""
    assert _parse(metadata=metadata).content_digest() == _parse(metadata=dict(reversed(metadata.items()))).content_digest()


def test_changes_of_rights_and_time_keep_the_digest() -> None:
    """They mean nothing to embed."""
    plain = _parse().content_digest()
    assert plain == _parse(acl=["*"], ttl_seconds=5, event_time="2026-01-01T00:00:00Z", version=3).content_digest()


def test_a_reference_is_identified_by_its_hash() -> None:
    """The same bytes at another place are the same content."""
    one, other = (ContentReference(uri=f"file:///{name}", sha256="0" * 64, media_type="text/plain") for name in "ab")
    assert one.identity() == other.identity()
    data = InlineBytes(base64=b"x", media_type="text/plain").identity()
    assert data.startswith(b"sha256\x00text/plain\x00")


def test_other_changes_have_no_digest() -> None:
    """A delete has no content."""
    assert parse(DocumentChange, b'{"op":"delete","doc_id":"a"}').content_digest() is None
