"""Final events by (principals, query_id, request), with the evidence they rest on: access is looked at again each time."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import orjson

from connectors.redis import ExpiringStore, Held
from query_api.cache.evidence import Evidence
from schemas.errors import Rejected
from schemas.queries import AnswerEvent, QueryRequest

MAX_BYTES: Final = 1_048_576
"""A larger answer is made again instead."""
KEPT: Final = frozenset({"answered", "unknown"})
"""Outcomes that stay. A failure may pass, and a rejection costs nothing."""
PATIENCE_S: Final = 0.25
"""A store that takes longer, or a queue before it, is gone without: an answer made again does less harm than one that is late."""
NOT_THE_SAME_REQUEST: Final = {"deadline", "token", "stream"}
"""How long one waits, how one proves who one is, and how the answer is delivered are not what is asked."""


class Repeated(NamedTuple):
    """A final event, every passage that it tells of, and the remembered answer that it is or became: feedback is about that.

    `age_s`: how long ago it was made, by the store's clock: workers' own may differ.
    """

    event: AnswerEvent
    evidence: tuple[Evidence, ...]
    entry_id: str | None = None
    age_s: float = 0.0


class Repeats:
    """Remembers final events for `ttl_s`. One event loop; the store may be shared by many workers.

    Used as

        async with repeats.turn(request):
            known = await repeats.recall(request)
            … check that `known.evidence` stands, else answer and `await repeats.remember(…)`
    """

    def __init__(
        self,
        store: ExpiringStore,
        ttl_s: float,
        count: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count` is told of `repeated`, `undecodable`, `too_large`, `late`."""
        self._store = store
        self._ttl_s = ttl_s
        self._count = count
        self._clock = clock
        self._turns: dict[str, tuple[asyncio.Lock, list[None]]] = {}

    @asynccontextmanager
    async def turn(self, request: QueryRequest) -> AsyncIterator[None]:
        """One at a time for the same request in this worker: the second waits for the first."""
        key = key_of(request)
        lock, users = self._turns.setdefault(key, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                yield
        finally:
            users.pop()
            if not users:
                del self._turns[key]

    async def recall(self, request: QueryRequest) -> Repeated | None:
        """What this very request was answered before. The caller checks that the evidence stands for it still."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                held = await asyncio.to_thread(self._store.held, key_of(request))
        except TimeoutError:
            self._count("late")
            return None
        if held is None:
            return None
        try:
            found = from_bytes(held)
        except ValueError:
            self._count("undecodable")
            return None
        self._count("repeated")
        return found

    async def remember(
        self, request: QueryRequest, event: AnswerEvent, evidence: tuple[Evidence, ...], entry_id: str | None = None
    ) -> None:
        """Keep a final event that rests on `evidence`; outcomes that may pass are not kept."""
        if event.kind != "final" or event.outcome not in KEPT:
            return
        made_at = self._clock()
        raw = to_bytes(Repeated(event, evidence, entry_id), self._ttl_s)
        if len(raw) > MAX_BYTES:
            self._count("too_large")
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.to_thread(self._put, key_of(request), raw, made_at)
        except TimeoutError:
            self._count("late")

    def _put(self, key: str, raw: bytes, made_at: float) -> None:
        """What has passed since it was made is of its time already: by what is left of that its age is told."""
        left_s = self._ttl_s - (self._clock() - made_at)
        if left_s > 0:
            self._store.put(key, raw, left_s)


def key_of(request: QueryRequest) -> str:
    """Equal for the same request of the same caller. A digest: it tells nothing of either."""
    asked = request.model_dump(mode="json", exclude={"principals", *NOT_THE_SAME_REQUEST})
    parts = [sorted(set(request.principals)), request.query_id, asked]
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


def to_bytes(repeated: Repeated, ttl_s: float) -> bytes:
    """JSON. `ttl_s`: how long it stays after it was made."""
    event = base64.b64encode(repeated.event.to_bytes()).decode()
    evidence = [one.to_wire() for one in repeated.evidence]
    return orjson.dumps({"format": 2, "event": event, "evidence": evidence, "entry": repeated.entry_id, "ttl_s": ttl_s})


def from_bytes(held: Held) -> Repeated:
    """Raises: ValueError, for what `to_bytes` of this release did not make."""
    try:
        wire = orjson.loads(held.value)
        if wire["format"] != 2:  # noqa: PLR2004
            msg = "of another release"
            raise ValueError(msg)
        event = AnswerEvent.from_bytes(base64.b64decode(wire["event"], validate=True))
        entry_id = wire.get("entry")
        evidence = tuple(Evidence.from_wire(one) for one in wire["evidence"])
        age_s = max(0.0, float(wire["ttl_s"]) - held.left_s)
        return Repeated(event, evidence, entry_id if isinstance(entry_id, str) else None, age_s)
    except (KeyError, TypeError, Rejected) as exc:
        msg = "not a remembered event"
        raise ValueError(msg) from exc
