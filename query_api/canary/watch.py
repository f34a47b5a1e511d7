"""The canary at work: one thread sends, one watches. Neither holds up an answer, and the end of either is no end of answering."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import structlog

from connectors.kafka import KafkaLink, OutRecord, Producer, partitions_of
from query_api.canary.documents import GIVE_UP_S, change_of, keys_of, word_of
from query_api.canary.flights import Flight, Flights
from query_api.canary.judging import Point, judge
from query_api.canary.metrics import CanaryMetrics
from query_api.view import IndexView, ViewSnapshot
from query_api.view.folder import ClaimedFolder
from schemas.errors import Misconfigured, RagError, Retryable
from schemas.index import DocKey, SourcePosition
from schemas.settings import Settings

FOLDER: Final = "canary"
"""Below the data directory: each worker's name, which outlives the process, so that restarts leave no documents behind."""
SEND_TIMEOUT_S: Final = 5.0
ASK_TIMEOUT_S: Final = 2.0
CLOSE_TIMEOUT_S: Final = 1.0
RETRY_S: Final = 1.0
SHORTEST_LOOK_S: Final = 0.02
LONGEST_LOOK_S: Final = 0.5
LOOK_SHARE: Final = 0.01
"""The longer something has been on its way, the less a moment matters: looks come at this share of its age."""
STOP_TIMEOUT_S: Final = SEND_TIMEOUT_S + 2.0

_log = structlog.get_logger(__name__)


class Canary:
    """Sends and watches until `stop`. Needs Write on `rag.documents`. Embedded, it goes past the journal: it isn't worth keeping.

    Args:
        view: followed by this process; the canary starts once it is ready.
        listen: is told of every look, from a thread of the canary's.
        clock: the view's own: monotonic seconds.

    Raises: Misconfigured, for an index that there is not.
    """

    def __init__(
        self,
        settings: Settings,
        link: KafkaLink,
        view: IndexView,
        metrics: CanaryMetrics,
        *,
        listen: Callable[[Point], None] = lambda point: None,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        rng: random.Random | None = None,
    ) -> None:
        if settings.canary.index not in settings.indexes:
            msg = f"RAG_CANARY__INDEX: no such index: {settings.canary.index!r}; there are: {', '.join(sorted(settings.indexes))}"
            raise Misconfigured(msg)
        self._settings = settings
        self._link = link
        self._view = view
        self._metrics = metrics
        self._listen = listen
        self._clock = clock
        self._now_ms = now_ms
        self._rng = rng or random.Random()
        self._flights = Flights(())
        self._contradicted: set[Flight] = set()
        self._last_complaint = ""
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._guarded, args=(run,), name=name, daemon=True)
            for run, name in ((self._send, "canary"), (self._watch, "canary-watch"))
        ]

    def start(self) -> None:
        """Begin, in threads of its own. Returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End; call it before the view stops. Never raises."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_TIMEOUT_S)

    # -- the thread that sends

    def _send(self) -> None:
        folder = ClaimedFolder.first_free(self._settings.data_dir / FOLDER)
        producer = Producer(self._link)
        try:
            partitions = self._partitions()
            canary, worker = self._settings.canary, _name_in(folder.path)
            self._flights = Flights(keys_of(canary.index, worker, partitions, canary.documents_per_partition))
            while not self._stop.wait(self._pause_s()):
                key = self._flights.next_key()
                if key is not None and self._view.ready().is_ready:
                    self._send_one(producer, key)
        finally:
            producer.close(CLOSE_TIMEOUT_S)
            folder.release()

    def _partitions(self) -> int:
        topic = self._settings.kafka.topics.documents
        while not self._stop.is_set():
            try:
                return len(partitions_of(self._link, topic, ASK_TIMEOUT_S))
            except Retryable as exc:
                self._complain(exc)
                self._stop.wait(RETRY_S)
        return 1

    def _pause_s(self) -> float:
        """Random, so that the view's probes are not met in phase."""
        return self._settings.canary.interval_s * self._rng.uniform(0.5, 1.5)

    def _send_one(self, producer: Producer, key: DocKey) -> None:
        version = self._next_version(key)
        change = change_of(key, version, self._settings.indexes[key.index])
        record = OutRecord(self._settings.kafka.topics.documents, key.doc_id.encode(), change.to_bytes())
        self._flights.sending(Flight(key, version, word_of(key, version), self._clock()))
        try:
            source = SourcePosition(*producer.send_and_wait(record, SEND_TIMEOUT_S))
        except RagError as exc:
            # It may arrive all the same; the next one of this document has a higher version.
            self._flights.ended(key)
            self._metrics.ended("not_acknowledged")
            self._complain(exc)
        else:
            self._flights.acknowledged(key, source, self._clock())

    def _next_version(self, key: DocKey) -> int:
        """Above whatever the log says of the document: an earlier life's clock may have been ahead."""
        with self._view.snapshot() as snapshot:
            state = snapshot.state(key)
        return max(self._now_ms(), state.version + 1 if state is not None else 0)

    def _complain(self, exc: RagError) -> None:
        """Once an outage, not once a canary."""
        if str(exc) != self._last_complaint:
            self._last_complaint = str(exc)
            remedy = (
                f"it needs Kafka, and Write on {self._settings.kafka.topics.documents}; RAG_CANARY__INTERVAL_S=0 turns it off"
            )
            _log.warning("canary_not_sent", error=str(exc), remedy=remedy)

    # -- the thread that watches

    def _watch(self) -> None:
        pause_s = SHORTEST_LOOK_S
        while not self._stop.wait(pause_s):
            pause_s = LONGEST_LOOK_S
            if not self._view.ready().is_ready:
                self._metrics.blind()
                continue
            try:
                point = self._look()
            except Retryable as exc:  # the view or its keyword index went away between two lines
                self._metrics.blind()
                _log.warning("canary_is_blind", error=str(exc))
                continue
            self._listen(point)
            if self._flights.flying():
                pause_s = min(LONGEST_LOOK_S, max(SHORTEST_LOOK_S, LOOK_SHARE * point.since_sent_s))

    def _look(self) -> Point:
        """The order matters: what is on its way, then the moment, then what the view states, then what it shows."""
        flights = self._flights.flying()
        at_s = self._clock()
        lag_ms = self._view.as_of().lag_ms
        with self._view.snapshot() as snapshot:
            visible = {flight.key for flight in flights if self._is_visible(snapshot, flight)}
            dead = {flight.key for flight in flights if flight.source and snapshot.is_dead_lettered(flight.source)}
        seen_s = self._clock()
        point = judge(
            (flight for flight in flights if flight.key not in dead), visible, at_s, None if lag_ms is None else lag_ms / 1000
        )
        self._metrics.looked(point)
        self._report(point)
        self._land(flights, visible, dead, seen_s)
        return point

    def _is_visible(self, snapshot: ViewSnapshot, flight: Flight) -> bool:
        """Whether its own text is shown and found: a manifest that is applied and not yet searchable is not reflected."""
        document = snapshot.document(flight.key)
        if document is None or document.version < flight.version or snapshot.is_dirty(flight.key):
            return False
        if document.version > flight.version:
            return True  # one whose acknowledgement never came has arrived after all
        if flight.word not in document.entry.text:
            return False
        hits = self._view.keyword.search(flight.word, self._settings.canary.documents_per_partition, (flight.key.index,))
        return any(hit.key == flight.key for hit in hits)

    def _report(self, point: Point) -> None:
        for flight in point.contradictions:
            if flight not in self._contradicted:
                self._contradicted.add(flight)
                self._metrics.violations.inc()
                _log.error(
                    "the view states to reflect what it does not show",
                    document=str(flight.key),
                    source=flight.source,
                    stated_lag_s=point.stated_lag_s,
                    true_lag_s=round(point.true_lag_s, 4),
                )

    def _land(self, flights: Iterable[Flight], visible: set[DocKey], dead: set[DocKey], seen_s: float) -> None:
        for flight in flights:
            if flight.acknowledged_s is None:
                continue  # still the sender's
            age_s = seen_s - flight.acknowledged_s
            if flight.key in visible:
                self._metrics.visible.observe(age_s)
                self._metrics.ended("visible")
            elif flight.key in dead:
                self._metrics.ended("dead_lettered")
            elif age_s > GIVE_UP_S:
                self._metrics.ended("given_up")
            else:
                continue
            self._contradicted.discard(flight)
            self._flights.ended(flight.key)

    # -- both

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except RagError as exc:
            _log.error("the canary has ended; answers go on unwatched", error=str(exc))
            self._end()
        except BaseException:
            _log.exception("the canary has ended; answers go on unwatched")
            self._end()

    def _end(self) -> None:
        self._stop.set()
        self._metrics.blind()


def _name_in(folder: Path) -> str:
    """The worker's name, kept in its folder."""
    file = folder / "name"
    name = file.read_text().strip() if file.is_file() else ""
    if not name:
        name = uuid.uuid4().hex[:12]
        file.write_text(name)
    return name
