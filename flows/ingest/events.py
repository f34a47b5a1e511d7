"""Bytes to typed events, the first step of the lane. Pure: what can't be decoded is a value, never an exception.

A rejected message still narrows: if it names its document, its version and an ACL, that ACL (and an earlier end) applies to
what is shown, because its producer meant it to; its content does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from connectors.kafka.records import Record
from schemas.acl import AllowList, allow_list, is_principal
from schemas.dead_letters import DeadLetter
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.index import DocKey, SourcePosition
from schemas.join import DocumentState, effect_of
from schemas.settings import IndexSettings
from schemas.wire import MAX_DOC_ID_LENGTH, MAX_VERSION, parse, to_ms

INDEX_HEADER = "rag-index"
VERSION_HEADER = "rag-version"


@dataclass(frozen=True, slots=True)
class Event:
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


def decode(record: Record, indexes: Mapping[str, IndexSettings], now_ms: int) -> Event | Rejection:
    """`record` as an event, or why not. Blocks on nothing, raises nothing for whatever bytes come."""
    try:
        change = _null_delete(record, indexes) if record.value is None else parse(DocumentChange, record.value)
        _check_key(record, change)
        settings = _index_settings(change.index, indexes)
        time_ms = to_ms(change.event_time) if change.event_time is not None else record.timestamp_ms
        version = _version(change, time_ms, settings, now_ms)
    except Rejected as exc:
        key, salvage = _salvage(record, indexes, now_ms)
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
    )


def _attempts(record: Record) -> int:
    """A redriven message says in a header how often it was tried before."""
    raw = dict(record.headers).get("rag-attempts", b"0")
    return (int(raw) if raw.isdigit() and len(raw) < 6 else 0) + 1  # noqa: PLR2004


def _null_delete(record: Record, indexes: Mapping[str, IndexSettings]) -> DocumentChange:
    """A null value deletes the document its key names (Kafka's own tombstone)."""
    headers = dict(record.headers)
    index = headers.get(INDEX_HEADER, b"").decode(errors="replace")
    if not index:
        if len(indexes) > 1:
            names = ", ".join(sorted(indexes))
            msg = "index_missing"
            raise Rejected(msg, f"a null value needs a `{INDEX_HEADER}` header where there are several indexes: {names}")
        index = next(iter(indexes))
    version = headers.get(VERSION_HEADER)
    fields: dict[str, Any] = {"op": "delete", "doc_id": _key_text(record), "index": index}
    if version is not None:
        if not version.isdigit():
            msg = "invalid"
            raise Rejected(msg, f"header `{VERSION_HEADER}` must be a whole number, not {version[:40]!r}")
        fields["version"] = int(version)
    return parse(DocumentChange, orjson.dumps(fields))


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
        raise Rejected(msg, f"index {index!r} is not configured; there are: {known}. Add it with RAG_INDEXES__{index}__...")
    return indexes[index]


def _version(change: DocumentChange, time_ms: int, settings: IndexSettings, now_ms: int) -> int:
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
            f"RAG_INDEXES__{change.index}__VERSIONS=producer before the first event",
        )
    if time_ms > now_ms + settings.max_future_skew_s * 1000:
        ahead = (time_ms - now_ms) / 1000
        msg = "time_in_future"
        raise Rejected(msg, f"event time is {ahead:.0f} s ahead; allowed are {settings.max_future_skew_s:.0f} s")
    if not 0 <= time_ms <= MAX_VERSION:
        msg = "invalid"
        raise Rejected(msg, "event time must not be before 1970")
    return time_ms


def _salvage(record: Record, indexes: Mapping[str, IndexSettings], now_ms: int) -> tuple[DocKey | None, DocumentState | None]:
    """What a rejected message still says about its document: that a version failed, and whom it would have let read."""
    try:
        wire = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        return None, None
    if not isinstance(wire, dict):
        return None, None
    doc_id, index = wire.get("doc_id"), wire.get("index", next(iter(indexes)) if len(indexes) == 1 else "docs")
    if not isinstance(doc_id, str) or not 0 < len(doc_id) <= MAX_DOC_ID_LENGTH or record.key != doc_id.encode(errors="replace"):
        return None, None
    settings = indexes.get(index) if isinstance(index, str) else None
    version = _salvaged_version(wire, record, settings, now_ms)
    if settings is None or version is None:
        return None, None
    allow = _salvaged_allow(wire)
    return DocKey(index, doc_id), effect_of(version=version, allow=allow, failed=True)


def _salvaged_version(wire: dict[str, Any], record: Record, settings: IndexSettings | None, now_ms: int) -> int | None:
    if settings is None:
        return None
    if settings.versions == "producer":
        version = wire.get("version")
        return version if type(version) is int and 0 <= version <= MAX_VERSION else None
    # An event time that can't be read is replaced by the broker's: the failure is at least that new.
    try:
        stamp = parse(
            DocumentChange, orjson.dumps({"op": "delete", "doc_id": "x", "event_time": wire.get("event_time")})
        ).event_time
    except Rejected:
        stamp = None
    time_ms = to_ms(stamp) if stamp is not None else record.timestamp_ms
    return time_ms if 0 <= time_ms <= now_ms + settings.max_future_skew_s * 1000 else None


def _salvaged_allow(wire: dict[str, Any]) -> AllowList | None:
    if wire.get("op") == "delete":
        return ()  # the producer wanted it gone: until someone mends the message, only the operator sees it
    acl = wire.get("acl")
    if not isinstance(acl, list):
        return None
    return allow_list(name for name in acl if isinstance(name, str) and is_principal(name))
