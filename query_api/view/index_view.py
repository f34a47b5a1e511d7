"""The view as the query path sees it: snapshots, freshness, read-your-writes, and whether it may be used at all.

Two threads: one follows the log, one measures how fresh that is. Either one's end is an end of readiness, never silence.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple

import structlog

from connectors.kafka.outage import OutageLog
from connectors.keyword.port import KeywordIndex
from connectors.keyword.tantivy_index import TantivyIndex
from query_api.view.changes import Changes
from query_api.view.folder import ClaimedFolder
from query_api.view.follower import Follower, OpenKeywordIndex, Topics, Turn
from query_api.view.freshness import Freshness, Probe
from query_api.view.log import ViewLog
from query_api.view.snapshot import ViewSnapshot
from schemas.acl import Principals
from schemas.errors import DataLoss, RagError, Retryable
from schemas.index import DocKey, SourcePosition
from schemas.queries import AsOf
from schemas.settings import Settings
from schemas.tokens import WriteToken

PROBE_INTERVAL_S: Final = 0.2
OPENING_S: Final = 0.02
PROBE_TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.5
STOP_TIMEOUT_S: Final = 20.0

TokenStatus = Literal["reflected", "dead_lettered", "not_yet", "other_log"]
"""What became of an event that a caller wants to be reflected."""

_log = structlog.get_logger(__name__)

VIEWS_FOLDER: Final = "views"
"""Below the data directory."""


class Readiness(NamedTuple):
    """Whether answers may be given, and if not, what it waits for or what went wrong."""

    is_ready: bool
    reason: str = ""


class ViewNotReady(Retryable):
    """The view has not opened yet, or has ended."""


def open_tantivy(folder: Path, stamp: str) -> KeywordIndex:
    """The keyword index on disk."""
    return TantivyIndex(folder, stamp).open()


class IndexView:
    """Follows one generation. Its methods may be called from any thread; `wait_for` from any event loop.

    Args:
        settings: topics, generation, data directory.
        log: where it all comes from; closed with the view.
        open_keyword: which keyword index to use.
        restored: for a log that begins empty with each process: set once it holds everything again. Its ends say nothing before,
            and half of it would show what the other half deletes: readiness then takes that all of it is reflected.
        clock: monotonic seconds; `now_ms` is the wall clock that `reflected_until` is told in, `up_ms` one that nobody sets and
            that goes on while the machine sleeps.
    """

    def __init__(
        self,
        settings: Settings,
        log: ViewLog,
        *,
        open_keyword: OpenKeywordIndex = open_tantivy,
        restored: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        up_ms: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000,
    ) -> None:
        topics = settings.kafka.topics
        self.generation = settings.generation
        self._settings = settings
        self._log = log
        self._open_keyword = open_keyword
        self._restored = restored
        self._clock = clock
        self._now_ms = now_ms
        self._up_ms = up_ms
        self._topics = Topics(topics.documents, settings.index_topic, topics.floors)
        self._lock = threading.Lock()
        self._freshness = Freshness()
        self._ends: Probe | None = None
        self._progress: dict[int, int] = {}
        self._is_warm = False
        self._reading = 1
        self._follower: Follower | None = None
        self._failure: BaseException | None = None
        self._hurry = threading.Event()
        self._stop = threading.Event()
        self._changes = Changes()
        self._outage = OutageLog(topic=topics.documents)
        self._threads = [
            threading.Thread(target=self._guarded, args=(self._follow,), name="view", daemon=True),
            threading.Thread(target=self._guarded, args=(self._probe,), name="view-probe", daemon=True),
        ]

    # -- life

    def start(self) -> None:
        """Begin to follow. Returns at once; `ready` says when answers may be given."""
        self._log.reserve(self._topics.index_log)
        self._log.reserve(self._topics.floors)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads and release everything. Snapshots must be closed before. Never raises."""
        self._stop.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(STOP_TIMEOUT_S)
        self._log.close()

    @property
    def failure(self) -> BaseException | None:
        """What ended a thread. The view goes on answering from what it has, ever older: stop the process."""
        return self._failure

    def ready(self) -> Readiness:
        """Whether everything that was in the log when this life began is in the view, keyword index included."""
        if self._failure is not None:
            return Readiness(False, f"the view has ended: {self._failure}")
        if self._stop.is_set():
            return Readiness(False, "the view has stopped")
        if self._follower is None:
            return Readiness(False, "waiting for Kafka to say what the log is")
        if not self._is_warm:
            return Readiness(False, self._waiting_for())
        return Readiness(True)

    @property
    def reading(self) -> int | None:
        """Which reading of the log this is, counted; None while it is not whole.

        A log that no longer holds what was to be read next is read anew, into an empty view: what one reading told, its `as_of`
        and that something was not found included, is void in the next.
        """
        with self._lock:
            return self._reading if self._is_warm else None

    # -- what answers are made of

    def snapshot(self) -> ViewSnapshot:
        """One immutable state. Raises: ViewNotReady, before the view has opened."""
        return self._opened().store.snapshot()

    @property
    def keyword(self) -> KeywordIndex:
        """The keyword index; its hits are candidates, the snapshot decides. Raises: ViewNotReady."""
        return self._opened().keyword

    def as_of(self) -> AsOf:
        """How fresh an answer made now is; null where that is not known."""
        with self._lock:
            return self._freshness.as_of(self._clock())

    def access_lag_s(self) -> float | None:
        """Age of what is known of access: floors and index were read to their ends as of then. None: never yet."""
        with self._lock:
            return self._freshness.access_lag_s(self._clock())

    # -- read your writes

    async def wait_for(self, tokens: Sequence[WriteToken], principals: Principals, timeout_s: float) -> list[TokenStatus]:
        """Wait until the view reflects the events of `tokens`, at most `timeout_s`. One status a token, in order.

        Tokens are anybody's to write, so they are answered by the caller's own rights. A document's own entry counts only for
        callers who may read it: others wait for the partition's progress, which every answer states, and learn nothing of whether
        the document exists. `dead_lettered` is told of a document's own event, to its readers; to others it is `reflected`.
        """
        deadline = self._clock() + timeout_s
        while True:
            changed = self._changes.next()
            statuses = self._statuses(tokens, principals)
            remaining = deadline - self._clock()
            if "not_yet" not in statuses or remaining <= 0:
                changed.cancel()
                return statuses
            self._hurry.set()
            await asyncio.wait([changed], timeout=remaining)

    async def wait_searchable(self, keys: Collection[DocKey], timeout_s: float) -> bool:
        """Wait until words find the newest text of these documents, at most `timeout_s`; returns whether they do.

        A snapshot shows a text as soon as it is read, the keyword index with its next commit, which this hastens.
        """
        deadline = self._clock() + timeout_s
        while True:
            changed = self._changes.next()
            with self.snapshot() as snapshot:
                is_searchable = not any(snapshot.is_dirty(key) for key in keys)
            remaining = deadline - self._clock()
            if is_searchable or remaining <= 0:
                changed.cancel()
                return is_searchable
            self._hurry.set()
            await asyncio.wait([changed], timeout=remaining)

    def _statuses(self, tokens: Sequence[WriteToken], principals: Principals) -> list[TokenStatus]:
        if self._follower is None:
            return ["not_yet"] * len(tokens)
        with self.snapshot() as snapshot:
            return [self._status(token, principals, snapshot) for token in tokens]

    def _status(self, token: WriteToken, principals: Principals, snapshot: ViewSnapshot) -> TokenStatus:
        if token.log_id != self._opened().documents_log:
            return "other_log"
        source = SourcePosition(token.partition, token.offset)
        with self._lock:
            is_passed = self._progress.get(token.partition, 0) > token.offset
        if is_passed:
            is_told = snapshot.is_told_of_failure(token.key, source, principals, self._now_ms())
            return "dead_lettered" if is_told else "reflected"
        document = snapshot.document(token.key)
        if document is None or not snapshot.is_readable(document, principals, self._now_ms()):
            return "not_yet"
        card = snapshot.card(token.key)
        is_own = card is not None and card.has_seen(source) and not snapshot.is_dirty(token.key)
        return "reflected" if is_own else "not_yet"

    # -- the thread that follows

    def _follow(self) -> None:
        folder = ClaimedFolder.first_free(self._settings.data_dir / VIEWS_FOLDER / self.generation)
        try:
            follower = self._open(folder.path)
            if follower is not None:
                try:
                    self._follow_on(follower)
                finally:
                    self._follower = None
                    follower.close()
        finally:
            folder.release()

    def _open(self, folder: Path) -> Follower | None:
        while not self._stop.is_set():
            try:
                return Follower(
                    folder,
                    self._log,
                    self._topics,
                    self.generation,
                    missing=self._settings.missing_allow_lists,
                    open_keyword=self._open_keyword,
                    commit_s=self._settings.query.keyword_commit_s,
                    now_ms=self._now_ms,
                    up_ms=self._up_ms,
                )
            except Retryable as exc:
                self._outage.waiting(exc)
                self._stop.wait(RETRY_S)
        return None

    def _follow_on(self, follower: Follower) -> None:
        self._follower = follower
        self._settle(follower)
        while not self._stop.is_set():
            ends = self._ends
            if ends is not None and not self._reads_all(follower, ends):
                follower.read_on({self._topics.index_log: ends.index_ends, self._topics.floors: ends.floor_ends})
            with self._lock:
                is_caught_up = self._freshness.has_followed
            is_hurried = self._hurry.is_set()
            if is_hurried:  # cleared before the turn: whoever hurries it meanwhile may wait for more than this turn brings
                self._hurry.clear()
            try:
                turn = follower.turn(is_caught_up=is_caught_up, is_hurried=is_hurried)
            except DataLoss as exc:
                self._start_over(follower, str(exc))
                continue
            self._take_note(follower, turn)
            if is_hurried and not turn.is_settled:
                self._hurry.set()

    def _start_over(self, follower: Follower, reason: str) -> None:
        """Nothing is stated any more, and only then nothing is found."""
        with self._lock:
            self._freshness, self._progress, self._is_warm = Freshness(), {}, False
            self._reading += 1
        follower.start_over(reason)

    def _reads_all(self, follower: Follower, ends: Probe) -> bool:
        return follower.reads(self._topics.index_log, ends.index_ends) and follower.reads(self._topics.floors, ends.floor_ends)

    def _take_note(self, follower: Follower, turn: Turn) -> None:
        with self._lock:
            self._freshness.followed(follower.positions(self._topics.floors), follower.positions(self._topics.index_log))
            followed_ms = self._freshness.followed_ms
        if followed_ms is not None:
            follower.note_followed(followed_ms)
        if turn.is_settled:
            self._settle(follower, has_changed=turn.is_changed)
        if turn.is_changed:
            self._changes.notify()

    def _settle(self, follower: Follower, *, has_changed: bool = True) -> None:
        """Everything applied is committed in the keyword index too: searches reflect the view's progress."""
        if has_changed:
            with follower.store.snapshot() as snapshot:
                progress = snapshot.progress()
            self._progress = progress
        with self._lock:
            if self._freshness.has_followed:
                # A restarted view states nothing before it has passed the ends it captured.
                self._freshness.reflected(self._progress)
                if not self._is_warm and (self._restored is None or self._freshness.has_reflected):
                    self._is_warm = True
                    _log.info("view is ready", generation=self.generation)

    # -- the thread that measures

    def _probe(self) -> None:
        while not self._stop.wait(PROBE_INTERVAL_S if self._follower else OPENING_S):
            if self._follower is None or not self._is_restored:
                continue
            with self._lock:
                freshness = self._freshness
            try:
                probe = self._measure()
            except Retryable as exc:
                self._outage.waiting(exc)
                continue
            self._outage.recovered()
            with self._lock:
                if freshness is self._freshness:
                    freshness.probed(probe)
                    self._ends = probe

    def _measure(self) -> Probe:
        """The moment first, then the ends: they hold everything that was published before it. Floors before the index."""
        at_s, wall_ms = self._clock(), self._now_ms()
        documents = self._log.ends(self._topics.documents, PROBE_TIMEOUT_S)
        floors = self._log.ends(self._topics.floors, PROBE_TIMEOUT_S)
        return Probe(at_s, wall_ms, documents, floors, self._log.ends(self._topics.index_log, PROBE_TIMEOUT_S))

    # -- both

    def _guarded(self, run: Callable[[], None]) -> None:
        try:
            run()
        except BaseException as exc:
            self._failure = exc
            if isinstance(exc, RagError):
                _log.error("the view has ended", error=str(exc))
            else:
                _log.exception("the view has ended")
            self._stop.set()
            self._changes.notify()

    def _opened(self) -> Follower:
        follower = self._follower
        if follower is None:
            msg = f"the view of generation {self.generation} is not open: {self.ready().reason}"
            raise ViewNotReady(msg)
        return follower

    @property
    def _is_restored(self) -> bool:
        return self._restored is None or self._restored.is_set()

    def _waiting_for(self) -> str:
        if not self._is_restored:
            return "the journal is being replayed"
        with self._lock:
            probe = self._freshness.pending()
            if self._freshness.has_followed:
                return "the keyword index is being filled" if self._restored is None else "the journal's events are being indexed"
        follower = self._follower
        if probe is None or follower is None:
            return "waiting for Kafka to say where the log ends"
        for topic, ends in ((self._topics.floors, probe.floor_ends), (self._topics.index_log, probe.index_ends)):
            missing = _missing(follower.store.positions(topic), ends)
            if missing:
                return f"reading {topic}: {missing:,} records to go"
        return "reading the log's last records"


def _missing(positions: Mapping[int, int], ends: Mapping[int, int]) -> int:
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
