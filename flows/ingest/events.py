"""Bytes to typed events, the first step of the lane. Pure: what can't be decoded is a value, never an exception.

A rejected message still narrows: if it names its document and its version, its ACL and an earlier end apply to what is shown,
because its producer meant them to; its content does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import Any, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from connectors.kafka.records import Record
from schemas.acl import MAX_ACL_BYTES, MAX_ALLOW_LIST, AllowList, allow_list, is_principal
from schemas.dead_letters import DeadLetter
from schemas.documents import MAX_TTL_SECONDS, DocumentChange
from schemas.errors import Rejected
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState, effect_of, join
from schemas.settings import IndexSettings, index_assignment
from schemas.wire import DEFAULT_INDEX, MAX_VERSION, DocId, Moment, parse, to_ms

INDEX_HEADER = "rag-index"
VERSION_HEADER = "rag-version"
T = TypeVar("T")

MAX_VERSION_DIGITS = len(str(MAX_VERSION))

_DOC_ID: TypeAdapter[str] = TypeAdapter(DocId)
_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class Event(NamedTuple):
    """One change, typed, with the version that orders it."""

    key: DocKey
    change: DocumentChange
    version: int
    time_ms: int
    digest: str | None
    record: Record

    @property
    def source(self) -> SourcePosition:
        return SourcePosition(self.record.partition, self.record.offset)

    def effect(self, *, failed: bool = False) -> DocumentState:
        """What the event asserts about its document; `failed` when its content could not be processed."""
        change = self.change
        return effect_of(
            version=self.version,
            deletes=change.op == "delete",
            digest=self.digest,
            allow=change.acl,
            carries_expiry=change.carries_expiry,
            expires_at_ms=change.expires_at_ms(self.time_ms) if change.carries_expiry else None,
            failed=failed,
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A message that could not be decoded, and what of it still applies to which document."""

    record: Record
    reason: str
    detail: str
    key: DocKey | None = None
    salvage: DocumentState | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes in a partition: due expiries are looked for. `position` is what the reader has passed."""

    partition: int
    now_ms: int
    position: int


def decode(record: Record, indexes: Mapping[str, IndexSettings]) -> Event | Rejection:
    """`record` as an event, or why not. Blocks on nothing, raises nothing for whatever bytes come.

    No clock has a say: what is rejected once is rejected whenever it is read again. How far ahead a time may be is counted from
    the record's timestamp, which Kafka (embedded: the intake) holds to its own clock when it takes the record in.
    """
    try:
        _check_headers(record)
        change = _null_delete(record, indexes) if record.value is None else parse(DocumentChange, record.value)
        _check_key(record, change)
        settings = _index_settings(change.index, indexes)
        time_ms = to_ms(change.event_time) if change.event_time is not None else record.timestamp_ms
        version = _version(change, time_ms, settings, record)
    except Rejected as exc:
        key, salvage = _salvage(record, indexes)
        return Rejection(record, exc.reason, exc.detail, key, salvage)
    return Event(DocKey(change.index, change.doc_id), change, version, time_ms, change.content_digest(), record)


def dead_letter(record: Record, reason: str, detail: str, now_ms: int) -> DeadLetter:
    return DeadLetter(
        reason=reason,
        detail=detail,
        topic=record.topic,
        source=SourcePosition(record.partition, record.offset),
        raw=record.value,
        key=record.key,
        timestamp_ms=record.timestamp_ms,
        failed_at_ms=now_ms,
        attempts=_attempts(record),
        headers=record.headers,
        is_complete=not record.has_unreadable_headers,
    )


def _check_headers(record: Record) -> None:
    if record.has_unreadable_headers:
        msg = "unreadable_headers"
        raise Rejected(msg, "a header's name is not UTF-8; leave it out, or name it in UTF-8")


def _attempts(record: Record) -> int:
    """A redriven message says in a header how often it was tried before."""
    raw = dict(record.headers).get("rag-attempts", b"0")
    return (int(raw) if raw.isdigit() and len(raw) < 6 else 0) + 1  # noqa: PLR2004


def _null_delete(record: Record, indexes: Mapping[str, IndexSettings]) -> DocumentChange:
    """A null value deletes the document its key names (Kafka's own tombstone)."""
    index = _tombstone_index(record, indexes)
    if index is None:
        names = ", ".join(sorted(indexes))
        msg = "index_missing"
        raise Rejected(msg, f"a null value needs a `{INDEX_HEADER}` header where there are several indexes: {names}")
    version = dict(record.headers).get(VERSION_HEADER)
    fields: dict[str, Any] = {"op": "delete", "doc_id": _key_text(record), "index": index}
    if version is not None:
        if not version.isdigit() or len(version) > MAX_VERSION_DIGITS:
            msg = "invalid"
            raise Rejected(msg, f"header `{VERSION_HEADER}` must be a whole number up to 2**53 - 1, not {version[:40]!r}")
        fields["version"] = int(version)
    return parse(DocumentChange, orjson.dumps(fields))


def _tombstone_index(record: Record, indexes: Mapping[str, IndexSettings]) -> str | None:
    named = dict(record.headers).get(INDEX_HEADER, b"").decode(errors="replace")
    return named or (next(iter(indexes)) if len(indexes) == 1 else None)


def _key_text(record: Record) -> str:
    try:
        return (record.key or b"").decode()
    except UnicodeDecodeError as exc:
        msg = "key_mismatch"
        raise Rejected(msg, "the Kafka key is not UTF-8; it must be the doc_id") from exc


def _check_key(record: Record, change: DocumentChange) -> None:
    if record.key is None or record.key != change.doc_id.encode():
        shown = "null" if record.key is None else repr(record.key[:80])
        msg = "key_mismatch"
        raise Rejected(msg, f"the Kafka key must be the doc_id {change.doc_id[:80]!r}; it is {shown}")


def _index_settings(index: str, indexes: Mapping[str, IndexSettings]) -> IndexSettings:
    if index not in indexes:
        known = ", ".join(sorted(indexes))
        msg = "unknown_index"
        how = index_assignment(index, "versions", "timestamp")
        raise Rejected(msg, f"index {index!r} is not configured; there are: {known}. Add it, in all processes, with {how}")
    return indexes[index]


def _version(change: DocumentChange, time_ms: int, settings: IndexSettings, record: Record) -> int:
    if settings.versions == "producer":
        if change.version is None:
            msg = "version_missing"
            raise Rejected(msg, f"index {change.index!r} orders changes by `version`, and this one has none")
        return change.version
    if change.version is not None:
        msg = "version_not_allowed"
        raise Rejected(
            msg,
            f"index {change.index!r} orders changes by event time; leave `version` out, or set "
            f"{index_assignment(change.index, 'versions', 'producer')} before the first event",
        )
    if not _is_soon_enough(time_ms, settings, record):
        ahead = (time_ms - record.timestamp_ms) / 1000
        allowed = f"allowed are {settings.max_future_skew_s:.0f} s"
        msg = "time_in_future"
        raise Rejected(msg, f"event time is {ahead:.0f} s ahead of the message's Kafka timestamp; {allowed}")
    if not 0 <= time_ms <= MAX_VERSION:
        msg = "invalid"
        raise Rejected(msg, "event time must not be before 1970")
    return time_ms


def _is_soon_enough(time_ms: int, settings: IndexSettings, record: Record) -> bool:
    return time_ms <= record.timestamp_ms + settings.max_future_skew_s * 1000


def _salvage(record: Record, indexes: Mapping[str, IndexSettings]) -> tuple[DocKey | None, DocumentState | None]:
    """What a rejected message still says about its document: that a version failed, and whom and how long it would have let read.

    All of it narrows: above the shown content's version, access and ends only take away.
    """
    wire = _fields(record, indexes)
    doc_id = _valid(_DOC_ID, wire.get("doc_id"))
    index = wire.get("index", DEFAULT_INDEX)
    settings = indexes.get(index) if isinstance(index, str) else None
    if doc_id is None or settings is None or record.key != doc_id.encode():
        return None, None
    event_ms = _salvaged_time(wire, record)
    version = _salvaged_version(wire, event_ms, settings, record)
    if version is None:
        return None, None
    narrowed = effect_of(version=version, allow=_salvaged_allow(wire), failed=True)
    ends = _salvaged_end(wire, event_ms)
    if ends is not None:
        narrowed = join(narrowed, effect_of(version=version, carries_expiry=True, expires_at_ms=ends))
    return DocKey(index, doc_id), narrowed


def _fields(record: Record, indexes: Mapping[str, IndexSettings]) -> dict[str, Any]:
    """The message's fields as they came; none where it is no JSON object. Read by the parser that rejected it."""
    if record.value is None:
        index = _tombstone_index(record, indexes)
        return {} if index is None else {"op": "delete", "doc_id": (record.key or b"").decode(errors="replace"), "index": index}
    try:
        wire = from_json(record.value)
    except ValueError:
        return {}
    return wire if isinstance(wire, dict) else {}


def _valid(adapter: TypeAdapter[T], value: object) -> T | None:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        return None


def _salvaged_time(wire: dict[str, Any], record: Record) -> int:
    # An event time that can't be read is replaced by the broker's: the failure is at least that new.
    stamp = _valid(_MOMENT, wire.get("event_time"))
    return to_ms(stamp) if stamp is not None else record.timestamp_ms


def _salvaged_version(wire: dict[str, Any], event_ms: int, settings: IndexSettings, record: Record) -> int | None:
    if settings.versions == "producer":
        version = wire.get("version")
        return version if type(version) is int and 0 <= version <= MAX_VERSION else None
    return event_ms if event_ms >= 0 and _is_soon_enough(event_ms, settings, record) else None


def _salvaged_allow(wire: dict[str, Any]) -> AllowList | None:
    if wire.get("op") == "delete":
        return ()  # the producer wanted it gone: until someone mends the message, only the operator sees it
    acl = wire.get("acl")
    if not isinstance(acl, list):
        return None
    named = allow_list(name for name in acl[:MAX_ALLOW_LIST] if isinstance(name, str) and is_principal(name))
    # Of a list that is too large the first names that fit: too few only narrow.
    sizes = accumulate(len(name.encode()) for name in named)
    return named[: sum(1 for size in sizes if size <= MAX_ACL_BYTES)]


def _salvaged_end(wire: dict[str, Any], event_ms: int) -> int | None:
    ends = _valid(_MOMENT, wire.get("expires_at"))
    ttl_s = wire.get("ttl_seconds")
    if type(ttl_s) is int and 1 <= ttl_s <= MAX_TTL_SECONDS:
        by_ttl = event_ms + ttl_s * 1000
        return min(by_ttl, to_ms(ends)) if ends is not None else by_ttl
    return to_ms(ends) if ends is not None else None
