"""The ground that a row of the table is tried on: servers with documents in them, a query process' parts, and people who ask."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx

from connectors.kafka import OutRecord, Producer
from query_api.identity.api_keys import append_entry, new_key
from ragstream.services import QueryService, Where
from schemas.documents import ContentReference, DocumentChange, InlineText
from schemas.errors import RagError
from schemas.queries import AnswerEvent
from schemas.settings import Settings
from schemas.wire import to_ms
from tests.servers.kafka import KafkaServer
from tests.servers.milvus import MilvusServer
from tests.servers.process import ServerProcess
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.stacks import IngestStack, stack_settings
from tests.waiting import DeadlineExceededError, wait_until

DEADLINE_S: Final = 4.0
GRACE_S: Final = 1.0
"""Beside the deadline, for two busy cores."""
NORMAL_WITHIN_S: Final = 10.0
READY_WITHIN_S: Final = 60.0
SEARCH_TIMEOUT_S: Final = 0.6
MAX_ACCESS_LAG_S: Final = 4.0
STAFF: Final = ("group:staff",)

TOPICS: Final = (
    ("falcon", "Falcons dive at three hundred kilometres an hour when they hunt pigeons over open fields."),
    ("glacier", "A glacier moves downhill under its own weight and polishes the granite beneath it."),
    ("violin", "The violin has four strings tuned in fifths and is played with a bow of horsehair."),
    ("harbour", "The harbour master assigns berths to ships and collects the mooring fees at noon."),
    ("saffron", "Saffron is picked by hand at dawn because the crocus flowers wilt in the midday heat."),
    ("turbine", "A turbine turns the pressure of steam into rotation that drives the generator."),
    ("parchment", "Parchment was made from calfskin, scraped thin, stretched and dried on a wooden frame."),
    ("lighthouse", "The lighthouse keeper trims the lamp every four hours and logs passing vessels."),
)
SECRET: Final = ("vault", "The vault combination changes on Mondays and is kept by the night manager of the branch.")
STALE: Final = ("almanac", "The almanac predicts frost for the second week of October in the northern valleys.")
COUNTER: Final = "odometer"


def question(about: tuple[str, str]) -> str:
    """One that its document answers by any account: in its words."""
    return f"What about the {about[0]}: {about[1][:60].lower()}?"


QUESTIONS: Final = tuple(map(question, TOPICS))


def documents() -> list[DocumentChange]:
    """Open ones, one for staff alone, and one whose newer version can't be processed."""
    now = datetime.now(UTC)
    made = [_document(name, text, ["*"], now) for name, text in TOPICS]
    made.append(_document(*SECRET, list(STAFF), now))
    made.append(_document(*STALE, ["*"], now))
    missing = ContentReference(uri="file:///nowhere/almanac.md", sha256="0" * 64, media_type="text/markdown")
    later = now + timedelta(seconds=1)
    made.append(DocumentChange(op="upsert", doc_id=STALE[0], event_time=later, content=missing))
    return made


def _document(name: str, text: str, acl: list[str], at: datetime) -> DocumentChange:
    content = InlineText(text=f"# The {name}\n\n{text}\n")
    return DocumentChange(op="upsert", doc_id=name, event_time=at, content=content, acl=acl)


def row_settings(folder: Path, **sections: dict[str, Any]) -> Settings:
    """Short patience, so that a row takes seconds."""
    mine: dict[str, dict[str, Any]] = {
        "embedding": {"kind": "hashing", "dimension": 64, "cache": "off"},
        "milvus": {"search_timeout_s": SEARCH_TIMEOUT_S},
        "query": {"max_access_lag_s": MAX_ACCESS_LAG_S, "min_support": 0.2},
        "observability": {"ingest_port": 0, "query_port": 0},
        "http": {"port": 0},
        # Kafka is away for longer than the usual timeout of a transaction; that it ends ingest is no part of these rows.
        "kafka": {"partitions": 2, "transaction_timeout_s": 60.0},
    }
    for name, section in sections.items():
        mine[name] = {**mine.get(name, {}), **section}
    return stack_settings(folder, "", **mine)


@dataclass
class Ground:
    """A log and vectors with the documents in them, and proxies before what speaks through one."""

    stack: IngestStack
    redis: RedisServer
    to_milvus: Proxy
    to_redis: Proxy

    @property
    def where(self) -> Where:
        return Where(self.stack.link, f"http://127.0.0.1:{self.to_milvus.port}")

    def settings(self, folder: Path, **sections: dict[str, Any]) -> Settings:
        """Of a query process of the test's own: the stack's topics and collections, a data directory of its own."""
        mine = row_settings(folder, redis={"url": f"redis://127.0.0.1:{self.to_redis.port}/0"}, **sections)
        shared = {"milvus": self.stack.settings.milvus, "kafka": self.stack.settings.kafka}
        return mine.model_copy(update={"data_dir": folder, **shared})

    def fill(self) -> None:
        self.stack.publish(documents())
        self.stack.ingest()

    def heal(self) -> None:
        """Everything runs and nothing lies between, whatever a test left."""
        self.to_milvus.heal()
        self.to_redis.heal()
        bring_back(self.redis)


@dataclass
class RealGround(Ground):
    """The log is Kafka, the vectors are in Milvus."""

    kafka: KafkaServer
    milvus: MilvusServer

    def heal(self) -> None:
        super().heal()
        bring_back(self.kafka)
        bring_back(self.milvus)


def bring_back(server: ServerProcess) -> None:
    if server.is_running:
        server.resume()
    else:
        server.start()


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, how long it took and how long it was allowed to; `asked_at` on the monotonic clock, `status` HTTP's."""

    event: AnswerEvent
    took_s: float
    deadline_s: float
    asked_at: float
    status: int

    @property
    def is_normal(self) -> bool:
        return self.event.outcome == "answered" and self.event.mode == "hybrid" and not self.event.degraded

    @property
    def is_late(self) -> bool:
        return self.took_s > self.deadline_s + GRACE_S

    @property
    def lag_s(self) -> float:
        """As it was stated; unknown is said by an assertion."""
        assert self.event.as_of is not None and self.event.as_of.lag_ms is not None, self.event
        return self.event.as_of.lag_ms / 1000


class Reading:
    """A query process' service in this process, started once and never again, and asked over HTTP from any thread."""

    def __init__(self, settings: Settings, where: Where, *, serves_kafka: bool = False) -> None:
        made = new_key(STAFF, ("ask",))
        keys = settings.data_dir / "keys.yaml"
        append_entry(keys, made.entry)
        self._staff = {"Authorization": f"Bearer {made.key}"}
        self.settings = settings.model_copy(update={"auth": settings.auth.model_copy(update={"api_keys_file": keys})})
        self.service = QueryService(self.settings, where, serves_kafka=serves_kafka)
        self._client = httpx.Client(timeout=DEADLINE_S + 30, limits=httpx.Limits(max_connections=100), trust_env=False)
        # Several of them share a Redis, where an id that was heard before gets the answer it had.
        self._name = secrets.token_hex(4)
        self._ids = itertools.count(1)

    def start(self) -> None:
        self.service.start()
        wait_until(self._listens, within_s=READY_WITHIN_S, what="HTTP to listen")

    def wait_normal(self, within_s: float = READY_WITHIN_S) -> float:
        """Seconds until an answer lacks nothing."""
        began = time.monotonic()
        wait_until(lambda: self.ask(QUESTIONS[0]).is_normal, within_s=within_s, what="an answer that lacks nothing")
        return time.monotonic() - began

    def ask(self, asked: str, *, as_staff: bool = False, deadline_s: float = DEADLINE_S, **more: Any) -> Heard:
        """The final event, whatever it says; a problem document carries it, too."""
        fields = {"query_id": f"{self._name}-{next(self._ids)}", "cache": "off", "timeout_ms": round(deadline_s * 1000), **more}
        headers = self._staff if as_staff else {}
        url = f"{self.service.http_url}/v1/answers"
        began = time.monotonic()
        response = self._client.post(url, json={"question": asked, **fields}, headers=headers)
        took_s = time.monotonic() - began
        body = response.json()
        raw = response.content if response.status_code == httpx.codes.OK else json.dumps(body["answer"]).encode()
        return Heard(AnswerEvent.from_bytes(raw), took_s, deadline_s, began, response.status_code)

    def streamed(self, asked: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
        """The events of a stream, as (name, data)."""
        fields = {"question": asked, "cache": "off", "timeout_ms": round(DEADLINE_S * 1000), "stream": True, **more}
        with self._client.stream("POST", f"{self.service.http_url}/v1/answers", json=fields) as response:
            text = response.read().decode()
        parts = [part for part in text.split("\n\n") if part.startswith("event: ")]
        return [(head.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for head, data in map(_lines, parts)]

    def readiness(self) -> tuple[int, str]:
        response = self._client.get(f"{self.service.http_url}/readyz")
        return response.status_code, response.text

    def metric(self, name: str, **labels: str) -> float:
        return self.service.registry.get_sample_value(name, labels) or 0.0

    def close(self) -> None:
        self.service.close()
        self._client.close()

    def _listens(self) -> bool:
        if self.service.error is not None:
            raise self.service.error
        try:
            return self._client.get(f"{self.service.http_url}/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def _lines(part: str) -> tuple[str, str]:
    head, data = part.split("\n", 1)
    return head, data


@contextmanager
def reading(settings: Settings, where: Where, *, serves_kafka: bool = False) -> Iterator[Reading]:
    """Started; whether it is normal yet is the test's business."""
    made = Reading(settings, where, serves_kafka=serves_kafka)
    made.start()
    try:
        yield made
    finally:
        made.close()


class Crowd:
    """A few callers who ask one question after the other, whatever comes, until the block ends; then all of it is judged."""

    def __init__(self, reading: Reading, callers: int = 3, **request: Any) -> None:
        self._reading = reading
        self._request = request
        self._is_over = threading.Event()
        self.heard: list[Heard] = []
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._keep_asking, args=(n,), daemon=True) for n in range(callers)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE_S + 60)
        if kind is None:
            self.judge()

    def judge(self) -> None:
        """What holds of every answer, whatever is down: in time, no crash, mode, `as_of`, no secret."""
        assert not self._failures, self._failures
        assert not any(thread.is_alive() for thread in self._threads), "a caller hangs"
        assert self.heard
        for heard in self.heard:
            event = heard.event
            assert not heard.is_late, f"{heard.took_s:.2f} s of {heard.deadline_s} s: {event}"
            assert event.reason != "internal_error", event
            assert event.mode is not None, event
            assert event.as_of is not None, event
            assert all(citation.doc_id != SECRET[0] for citation in event.citations), "a secret was shown"

    def since(self, moment: float) -> list[Heard]:
        """Answers to what was asked after a moment."""
        return [heard for heard in self.heard if heard.asked_at >= moment]

    def wait_for(self, condition: Callable[[Heard], bool], within_s: float, what: str, asked_since: float | None = None) -> Heard:
        """The first answer, to a question asked from now on (or since a moment), that fulfils `condition`."""
        began = time.monotonic() if asked_since is None else asked_since

        def found() -> Heard | None:
            return next((heard for heard in self.since(began) if condition(heard)), None)

        try:
            heard = wait_until(found, within_s=within_s, what=what)
        except DeadlineExceededError as exc:
            msg = f"{exc}; heard: {Calls(self.since(began))}"
            raise DeadlineExceededError(msg) from exc
        assert heard is not None
        return heard

    def wait_normal(self, within_s: float = NORMAL_WITHIN_S) -> float:
        """Seconds until an answer lacks nothing."""
        began = time.monotonic()
        self.wait_for(lambda heard: heard.is_normal, within_s, "an answer that lacks nothing")
        return time.monotonic() - began

    def _keep_asking(self, number: int) -> None:
        try:
            for asked in itertools.islice(itertools.cycle(QUESTIONS), number, None):
                if self._is_over.is_set():
                    return
                self.heard.append(self._reading.ask(asked, **self._request))
        except BaseException as exc:
            self._failures.append(exc)


class Chronicle:
    """A document that counts upwards, written while everything goes on; proves that nobody was told a lag below the true one.

    An answer that says "everything published before T is reflected" must show the count that was acknowledged last before T.
    """

    def __init__(self, stack: IngestStack, reading: Reading, every_s: float = 0.25) -> None:
        self._stack = stack
        self._reading = reading
        self._every_s = every_s
        self._is_over = threading.Event()
        self._acknowledged: list[tuple[int, int]] = []
        self.looks: list[tuple[Heard, int]] = []
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._guarded, args=(run,), daemon=True) for run in (self._write, self._look)]

    def __enter__(self) -> Chronicle:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(60)
        if kind is None:
            self.judge()

    def judge(self) -> None:
        assert not self._failures, self._failures
        assert self.looks, "the count was never shown"
        for heard, count in self.looks:
            as_of = heard.event.as_of
            if as_of is None or as_of.reflected_until is None:
                continue
            until_ms = to_ms(as_of.reflected_until)
            due = max((number for number, at_ms in self._acknowledged if at_ms < until_ms), default=0)
            assert count >= due, f"shows {count}, but states to reflect everything before {until_ms}, which {due} was: {heard}"

    @property
    def last(self) -> int:
        """The count that was acknowledged last."""
        return self._acknowledged[-1][0] if self._acknowledged else 0

    def shown(self) -> int:
        return self.looks[-1][1] if self.looks else 0

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as exc:
            self._failures.append(exc)

    def _write(self) -> None:
        producer = Producer(self._stack.link)
        topic = self._stack.settings.kafka.topics.documents
        try:
            for number in itertools.count(1):
                change = _document(COUNTER, f"The odometer reads {number} kilometres today.", ["*"], datetime.now(UTC))
                try:
                    producer.send_and_wait(OutRecord(topic, COUNTER.encode(), change.to_bytes()), 2.0)
                except RagError:
                    pass  # Kafka is away: nobody can expect to see what was not acknowledged
                else:
                    self._acknowledged.append((number, time.time_ns() // 1_000_000))
                if self._is_over.wait(self._every_s):
                    return
        finally:
            producer.close(1.0)

    def _look(self) -> None:
        while not self._is_over.wait(self._every_s):
            heard = self._reading.ask("How many kilometres does the odometer read today?")
            counts = [
                int(found[1])
                for citation in heard.event.citations
                if citation.doc_id == COUNTER and (found := re.search(r"reads (\d+) ", citation.text))
            ]
            if counts:
                self.looks.append((heard, counts[0]))


@dataclass(repr=False)
class Calls:
    """Counts by outcome, for a failed assertion's message."""

    heard: Iterable[Heard] = field(default_factory=list)

    def __repr__(self) -> str:
        kinds: dict[str, int] = {}
        for one in self.heard:
            event = one.event
            kind = f"{event.outcome}/{event.mode}/{','.join(event.degraded)}/{event.reason or ''}"
            kinds[kind] = kinds.get(kind, 0) + 1
        return str(kinds)
