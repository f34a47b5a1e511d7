"""The view's threads on a log in memory: readiness, freshness, read-your-writes, outages, lost logs, damage."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from connectors.keyword.memory import MemoryKeywordIndex
from connectors.keyword.port import KeywordIndex
from connectors.keyword.tantivy_index import TantivyIndex
from query_api.view import IndexView, TokenStatus
from query_api.view.index_view import ViewNotReady
from schemas.acl import OPERATOR, principals_of
from schemas.errors import Fatal, Rejected
from schemas.floors import AccessFloor, Floor
from schemas.index import DOC, DocKey, LogKey, OutcomeRun, SourcePosition
from schemas.settings import Settings
from schemas.tokens import WriteToken
from schemas.wire import from_ms
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import KeyValue, Writer, key_of, progress
from tests.waiting import wait_until

DOCUMENTS, INDEX, FLOORS = "rag.documents", "rag.index.g1", "rag.floors"
A, B, C = key_of("a"), key_of("b"), key_of("c")
ANN, BOB = principals_of(["user:ann"]), principals_of(["user:bob"])
WITHIN_S = 10.0

StartView = Callable[..., IndexView]


class WallClock:
    """Goes on by itself, and by days when told to."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> int:
        return time.time_ns() // 1_000_000 + round(self.days * 24 * 3600 * 1000)


@pytest.fixture
def log() -> MemoryLog:
    """Two partitions of everything."""
    return MemoryLog({DOCUMENTS: 2, INDEX: 2, FLOORS: 2})


@pytest.fixture
def started(log: MemoryLog, tmp_path: Path) -> Iterator[StartView]:
    """Starts views over the same folder; stops them."""
    views: list[IndexView] = []

    def start(
        open_keyword: Callable[[Path, str], KeywordIndex] | None = None,
        restored: threading.Event | None = None,
        wall: WallClock | None = None,
        up: WallClock | None = None,
    ) -> IndexView:
        opener = open_keyword or (lambda folder, stamp: TantivyIndex(folder, stamp).open())
        wall = wall or WallClock()
        settings = Settings(data_dir=tmp_path)
        view = IndexView(settings, log, open_keyword=opener, restored=restored, now_ms=wall, up_ms=up or wall)
        views.append(view)
        view.start()
        return view

    yield start
    for view in views:
        view.stop()


def ready(view: IndexView) -> IndexView:
    """Wait until it is."""
    wait_until(lambda: view.ready().is_ready, within_s=WITHIN_S, what=f"readiness: {view.ready().reason}")
    return view


def publish(log: MemoryLog, pairs: list[KeyValue], partition: int = 0) -> int:
    """An event at the source and what the lane makes of it; returns the event's offset."""
    offset = log.append(DOCUMENTS, partition, b"k", b"v")
    for key, value in pairs:
        log.append(INDEX, partition, key, value)
    return offset


def texts(view: IndexView, *keys: DocKey) -> list[str | None]:
    """What the view shows."""
    with view.snapshot() as snapshot:
        documents = [snapshot.document(key) for key in keys]
    return [document.entry.text if document else None for document in documents]


def found(view: IndexView, query: str) -> set[DocKey]:
    """What the keyword index finds."""
    return {hit.key for hit in view.keyword.search(query, 10)}


def token(log: MemoryLog, offset: int, key: DocKey, partition: int = 0) -> WriteToken:
    """The token a publisher gets."""
    return WriteToken(log.identity(DOCUMENTS), partition, offset, key)


def waited(view: IndexView, *tokens: WriteToken, caller: frozenset[str] = ANN, timeout_s: float = 5.0) -> list[TokenStatus]:
    """`wait_for`, from an event loop of its own."""
    return asyncio.run(view.wait_for(tokens, caller, timeout_s))


def test_a_cold_view_reads_everything_then_is_ready(log: MemoryLog, started: StartView) -> None:
    """Ready means: all that was in the log is shown and found."""
    writers = [Writer(0), Writer(1)]
    for n in range(40):
        publish(log, writers[n % 2].upsert(key_of(f"d{n}"), 1, f"text number{n}"), n % 2)
    view = ready(started())
    assert texts(view, key_of("d0"), key_of("d39")) == ["text number0", "text number39"]
    assert found(view, "number17") == {key_of("d17")}
    wait_until(lambda: view.as_of().reflected_until, within_s=WITHIN_S, what="as_of")
    assert {(p.partition, p.position, p.end) for p in view.as_of().partitions} == {(0, 20, 20), (1, 20, 20)}


def test_a_log_that_begins_anew_is_shown_when_all_of_it_is_reflected(log: MemoryLog, started: StartView) -> None:
    """Half of it would show what its other half deletes; and its ends say nothing before it is whole."""
    restored, writer = threading.Event(), Writer(0)
    publish(log, writer.upsert(A, 1, "deleted later"))
    view = started(restored=restored)
    wait_until(lambda: "replayed" in view.ready().reason, within_s=WITHIN_S, what="the view to open")
    wait_until(lambda: texts(view, A) == ["deleted later"], within_s=WITHIN_S, what="the first half")
    log.append(DOCUMENTS, 0, b"k", b"delete")  # in the log, not in the index yet
    restored.set()
    wait_until(lambda: "indexed" in view.ready().reason, within_s=WITHIN_S, what="the ends to be known")
    assert not view.ready().is_ready
    assert view.as_of().reflected_until is None
    for key, value in writer.delete(A, 2):
        log.append(INDEX, 0, key, value)
    assert texts(ready(view), A) == [None]


def test_it_follows(log: MemoryLog, started: StartView) -> None:
    """New manifests, access changes and deletes show, in the keyword index too."""
    view, writer = ready(started()), Writer(0)
    publish(log, writer.upsert(A, 1, "first words"))
    wait_until(lambda: found(view, "first") == {A}, within_s=WITHIN_S, what="the first text")
    publish(log, writer.upsert(A, 2, "second thoughts"))
    wait_until(lambda: found(view, "second") == {A} and not found(view, "first"), within_s=WITHIN_S, what="the second text")
    publish(log, writer.delete(A, 3))
    wait_until(lambda: texts(view, A) == [None] and not found(view, "second"), within_s=WITHIN_S, what="the delete")


def test_an_edit_of_a_passage_reaches_its_neighbours(log: MemoryLog, started: StartView) -> None:
    """A passage is found by the words around it: those of the current revision, never by what was edited away."""
    view, writer = ready(started()), Writer(0)
    publish(log, writer.upsert(A, 1, "monthly fees\ncharged abroad"))
    wait_until(lambda: len(view.keyword.search("abroad", 10)) == 2, within_s=WITHIN_S, what="both passages")
    publish(log, writer.upsert(A, 2, "monthly fees\nwaived forever"))
    wait_until(lambda: len(view.keyword.search("waived", 10)) == 2, within_s=WITHIN_S, what="both passages, edited")
    assert view.keyword.search("abroad", 10) == []


def test_not_ready_says_what_it_waits_for(log: MemoryLog, started: StartView) -> None:
    """While Kafka is away at the start there is no view, and it says so; then there is."""
    log.is_away = True
    view = started()
    assert not view.ready().is_ready and "Kafka" in view.ready().reason
    with pytest.raises(ViewNotReady):
        view.snapshot()
    assert view.as_of().reflected_until is None
    log.is_away = False
    ready(view)


def test_as_of_needs_the_source_s_end_to_be_covered(log: MemoryLog, started: StartView) -> None:
    """An event without its outcome holds the stated moment back; the lag grows and the partition shows why."""
    view = ready(started())
    publish(log, Writer(0).upsert(A, 1, "text"))
    wait_until(lambda: [p.position for p in view.as_of().partitions] == [1, 0], within_s=WITHIN_S, what="progress")
    log.append(DOCUMENTS, 0, b"k", b"queued")
    wait_until(lambda: [p.end for p in view.as_of().partitions] == [2, 0], within_s=WITHIN_S, what="the end to be seen")
    before = view.as_of()
    wait_until(lambda: (view.as_of().lag_ms or 0) > (before.lag_ms or 0) + 300, within_s=WITHIN_S, what="a growing lag")
    assert view.as_of().reflected_until == before.reflected_until
    log.append(INDEX, 0, *progress(0, 2, start=1))
    wait_until(lambda: view.as_of().reflected_until != before.reflected_until, within_s=WITHIN_S, what="a newer moment")


def test_an_outage_shows_as_lag(log: MemoryLog, started: StartView) -> None:
    """With Kafka away access and answers grow old, and say so."""
    view = ready(started())
    wait_until(lambda: view.as_of().reflected_until, within_s=WITHIN_S, what="as_of")
    log.is_away = True
    wait_until(lambda: (view.access_lag_s() or 0) > 0.8, within_s=WITHIN_S, what="access to grow old")
    assert (view.as_of().lag_ms or 0) > 500
    assert view.ready().is_ready
    log.is_away = False
    wait_until(lambda: (view.access_lag_s() or 9) < 0.5, within_s=WITHIN_S, what="access to be fresh again")


def test_a_restart_resumes_and_states_nothing_before_it_caught_up(log: MemoryLog, started: StartView) -> None:
    """The second life reads only what is new, and is silent about freshness while that isn't in."""
    writer = Writer(0)
    publish(log, writer.upsert(A, 1, "kept text"))
    first = ready(started())
    first.stop()
    publish(log, writer.upsert(B, 1, "missed text"))
    log.records[INDEX][0] = log.records[INDEX][0][2:]  # what it has read is not asked for again
    second = started()
    ready(second)
    assert texts(second, A, B) == ["kept text", "missed text"]
    assert found(second, "kept text missed") == {A, B}


def test_a_keyword_index_left_behind_is_fed_again(log: MemoryLog, started: StartView, tmp_path: Path) -> None:
    """Killed before its commit, or lost altogether: the next life feeds what is owed."""
    publish(log, Writer(0).upsert(A, 1, "owed text"))
    first = ready(started())
    first.stop()
    for path in (tmp_path / "views").rglob("meta.json"):
        path.write_text("{")
    second = ready(started())
    assert found(second, "owed") == {A}


def test_an_uncommitted_feed_is_repeated(log: MemoryLog, started: StartView) -> None:
    """The store says what the keyword index owes, also after a life that never committed."""

    class NeverCommits(MemoryKeywordIndex):
        def commit(self) -> None:
            raise Fatal("the disk is full")

    publish(log, Writer(0).upsert(A, 1, "owed text"))
    broken = started(lambda folder, stamp: NeverCommits())
    wait_until(lambda: broken.failure, within_s=WITHIN_S, what="the failure")
    assert not broken.ready().is_ready and "the disk is full" in broken.ready().reason
    broken.stop()
    assert found(ready(started()), "owed") == {A}


def test_a_dead_thread_is_never_silent(log: MemoryLog, started: StartView) -> None:
    """What ends the follower ends readiness and is told; the lag tells it too."""
    view = ready(started())
    log.failure = Fatal("the broker refuses")
    wait_until(lambda: not view.ready().is_ready, within_s=WITHIN_S, what="readiness to end")
    assert isinstance(view.failure, Fatal) and "the broker refuses" in view.ready().reason


def test_a_log_that_lost_its_start_is_read_anew(log: MemoryLog, started: StartView) -> None:
    """The position lies before the log's start: emptied, read from the start, ready only then."""
    writer = Writer(0)
    publish(log, writer.upsert(A, 1, "gone text"))
    first = ready(started())
    first.stop()
    for n in range(3):
        publish(log, writer.upsert(B, n + 1, f"text {n}"))
    log.drop_before(INDEX, 0, 6)
    second = started()
    wait_until(
        lambda: second.ready().is_ready and texts(second, A, B) == [None, "text 2"], within_s=WITHIN_S, what="a new reading"
    )
    assert found(second, "gone") == set() and found(second, "text") == {B}


def cleared(log: MemoryLog, key: DocKey, deleted: list[KeyValue]) -> None:
    """A document was deleted, and compaction has forgotten that it ever was there: nothing but gaps tell of it."""
    for name, value in deleted:
        log.append(INDEX, 0, name, value)
    log.forget(INDEX, 0, LogKey(DOC, str(key)).to_bytes())


def test_a_view_that_was_away_for_longer_than_deletes_are_kept_is_read_anew(log: MemoryLog, started: StartView) -> None:
    """The delete is gone from the log, and its document with it: what the view kept on disk must go too."""
    wall, writer = WallClock(), Writer(0)
    publish(log, writer.upsert(A, 1, "deleted meanwhile"))
    publish(log, writer.upsert(B, 2, "kept"))
    ready(started(wall=wall)).stop()
    cleared(log, A, writer.delete(A, 3))
    wall.days = 8
    assert texts(ready(started(wall=wall)), A, B) == [None, "kept"]


def test_a_view_that_opened_and_never_caught_up_was_away_all_the_time(log: MemoryLog, started: StartView) -> None:
    """A life on the fifth day that was killed before Kafka told it anything: on the eighth the view is as old as before."""
    wall, writer = WallClock(), Writer(0)
    publish(log, writer.upsert(A, 1, "deleted meanwhile"))
    ready(started(wall=wall)).stop()
    cleared(log, A, writer.delete(A, 2))
    wall.days, log.is_silent = 5, True
    killed = started(wall=wall)
    wait_until(lambda: "where the log ends" in killed.ready().reason, within_s=WITHIN_S, what="the second life to open")
    assert texts(killed, A) == ["deleted meanwhile"]
    killed.stop()
    wall.days, log.is_silent = 8, False
    assert texts(ready(started(wall=wall)), A) == [None]


@pytest.mark.parametrize("has_gaps_only", [True, False])
def test_kafka_may_be_away_for_longer_than_deletes_are_kept(log: MemoryLog, started: StartView, has_gaps_only: bool) -> None:
    """From this process alone: back again, the view begins anew before it states anything, also where gaps are all there is."""
    wall, writer = WallClock(), Writer(0)
    publish(log, writer.upsert(A, 1, "deleted meanwhile"))
    view = ready(started(wall=wall))
    log.is_away = True
    wall.days = 8
    wait_until(lambda: (view.access_lag_s() or 0) > 0.5, within_s=WITHIN_S, what="the outage to be noticed")
    assert texts(view, A) == ["deleted meanwhile"], "and it is served as that old for as long as Kafka is away"
    cleared(log, A, writer.delete(A, 2)[: 1 if has_gaps_only else None])
    log.is_away = False
    wait_until(lambda: texts(view, A) == [None], within_s=WITHIN_S, what="the view to begin anew")
    assert found(ready(view), "deleted") == set()


@pytest.mark.parametrize("days", [8, -8])
def test_a_clock_that_is_set_empties_no_view_that_runs(log: MemoryLog, started: StartView, days: float) -> None:
    """However far, to either side: it was not away. What it has read is gone from this log: reading it anew would show."""
    wall, writer = WallClock(), Writer(0)
    publish(log, writer.upsert(A, 1, "kept text"))
    view = ready(started(wall=wall, up=WallClock()))
    log.records[INDEX][0].clear()
    wall.days = days
    publish(log, writer.upsert(B, 2, "new text"))
    wait_until(lambda: texts(view, A, B) == ["kept text", "new text"], within_s=WITHIN_S, what="the new document beside the old")


def test_a_log_that_forgets_nothing_is_not_read_anew(log: MemoryLog, started: StartView) -> None:
    """The embedded one: a machine that slept for a week missed nothing, and what its broker has dropped it can't read again."""
    wall, writer = WallClock(), Writer(0)
    log.forgets = False
    publish(log, writer.upsert(A, 1, "kept text"))
    view = ready(started(wall=wall))
    log.records[INDEX][0].clear()
    wall.days = 8
    publish(log, writer.upsert(B, 2, "new text"))
    wait_until(lambda: texts(view, A, B) == ["kept text", "new text"], within_s=WITHIN_S, what="the new document beside the old")


def test_a_view_that_follows_stays_young(log: MemoryLog, started: StartView) -> None:
    """While Kafka tells where the log ends and the view has reached it, nothing needs to be written: days pass, it goes on."""
    wall, writer = WallClock(), Writer(0)
    publish(log, writer.upsert(A, 1, "kept text"))
    view = ready(started(wall=wall))
    for day in (4, 8):
        wall.days = day
        _reflects(view, from_ms(wall()))
    view.stop()
    log.records[INDEX][0].clear()  # what it has read is not asked for again
    wall.days = 12
    assert texts(ready(started(wall=wall)), A) == ["kept text"]


def _reflects(view: IndexView, moment: datetime) -> None:
    def is_reflected() -> bool:
        until = view.as_of().reflected_until
        return until is not None and until >= moment

    wait_until(is_reflected, within_s=WITHIN_S, what=f"everything until {moment} to be reflected")


def test_another_log_is_read_anew(log: MemoryLog, started: StartView) -> None:
    """A topic made anew has another identity: nothing of the old one is shown."""
    publish(log, Writer(0).upsert(A, 1, "of the old log"))
    ready(started()).stop()
    log.lives = "2"
    log.records[INDEX][0].clear()
    log.next[INDEX, 0] = 0
    second = ready(started())
    assert texts(second, A) == [None] and found(second, "old") == set()


def test_partitions_may_be_added(log: MemoryLog, started: StartView) -> None:
    """A partition that is added while it runs is followed."""
    view = ready(started())
    for topic in (DOCUMENTS, INDEX, FLOORS):
        log.records[topic].append([])
    publish(log, Writer(2).upsert(A, 1, "in the third"), 2)
    wait_until(lambda: texts(view, A) == ["in the third"], within_s=WITHIN_S, what="the new partition")


def test_trailing_markers_do_not_hold_readiness(log: MemoryLog, started: StartView) -> None:
    """Offsets that are never delivered lie at the log's end: they are passed all the same."""
    publish(log, Writer(0).upsert(A, 1, "text"))
    log.skip(INDEX, 0)
    log.skip(FLOORS, 1)
    assert texts(ready(started()), A) == ["text"]


def test_floors_reach_readers(log: MemoryLog, started: StartView) -> None:
    """A revocation that only the express lane knows."""
    view = started()
    publish(log, Writer(0).upsert(A, 1, "text"))
    ready(view)
    floor = Floor(access=(AccessFloor(2, ("group:hr",), SourcePosition(0, 7)),))
    log.append(FLOORS, 1, str(A).encode(), floor.to_bytes())

    def is_revoked() -> bool:
        with view.snapshot() as snapshot:
            document = snapshot.document(A)
            return document is not None and not snapshot.is_readable(document, ANN, 0)

    wait_until(is_revoked, within_s=WITHIN_S, what="the floor")


def test_the_log_is_told_what_was_read(log: MemoryLog, started: StartView) -> None:
    """Embedded producers are held back by what the view has yet to read."""
    view = started()
    assert log.reserved == {INDEX, FLOORS}
    publish(log, Writer(0).upsert(A, 1, "text"))
    ready(view)
    wait_until(lambda: log.read_up_to.get(INDEX) == {0: 2, 1: 0}, within_s=WITHIN_S, what="the report")


def test_read_your_writes_by_progress(log: MemoryLog, started: StartView) -> None:
    """A token is satisfied once progress passes it, whatever became of the event; a dead letter is said."""
    view, writer = ready(started()), Writer(0)
    offset = publish(log, writer.upsert(A, 1, "text"))
    assert waited(view, token(log, offset, A)) == ["reflected"]
    assert found(view, "text") == {A}, "reflected means found"
    assert waited(view, dead_lettered(log, writer, B, ("user:ann",)), token(log, offset, A)) == ["dead_lettered", "reflected"]


def dead_lettered(log: MemoryLog, writer: Writer, key: DocKey, allow: tuple[str, ...] | None) -> WriteToken:
    """An upsert that becomes a dead letter: its register record, and a marker that says so."""
    offset = writer.offset
    [*records, _] = writer.fail(key, offset + 1, allow)
    publish(log, [*records, progress(0, offset + 1, start=offset, runs=(OutcomeRun(offset, offset, 1, "dead-lettered"),))])
    return token(log, offset, key)


def test_a_dead_letter_is_told_to_its_document_s_readers_only(log: MemoryLog, started: StartView) -> None:
    """Tokens can be forged: another document's event, a hidden document, an event without one are `reflected`, like any other."""
    view, writer = ready(started()), Writer(0)
    publish(log, writer.upsert(A, 1, "ann's text", ("user:ann",)))
    publish(log, writer.upsert(C, 1, "everybody's text"))
    hidden = dead_lettered(log, writer, A, None)
    new = dead_lettered(log, writer, B, ("user:ann",))
    unreadable = dead_lettered(log, writer, key_of("d"), None)
    assert waited(view, hidden, new, caller=ANN) == ["dead_lettered", "dead_lettered"]
    assert waited(view, hidden, new, unreadable, caller=BOB) == ["reflected"] * 3
    forged = [one._replace(key=C) for one in (hidden, new, unreadable)]
    assert waited(view, *forged, caller=BOB) == ["reflected"] * 3
    assert waited(view, unreadable, *forged, caller=principals_of([OPERATOR])) == ["dead_lettered"] * 4
    writer.offset += 1
    letter = publish(log, [progress(0, writer.offset, start=3, runs=(OutcomeRun(5, 5, 1, "dead-lettered"),))])
    assert waited(view, token(log, letter, A), caller=ANN) == ["reflected"], "a message that names no document"


def test_read_your_writes_is_bounded(log: MemoryLog, started: StartView) -> None:
    """An event that isn't in yet: `not_yet` after the time given; of another log: said at once."""
    view = ready(started())
    offset = log.append(DOCUMENTS, 0, b"k", b"queued")
    assert waited(view, token(log, offset, A), timeout_s=0.2) == ["not_yet"]
    assert waited(view, WriteToken("elsewhere", 0, 0, A)) == ["other_log"]


def test_a_document_s_own_entry_is_enough_for_its_readers(log: MemoryLog, started: StartView) -> None:
    """Before the marker comes, who may read the document is satisfied, and who may not learns nothing."""
    view = ready(started())
    offset = log.append(DOCUMENTS, 0, b"k", b"v")
    [put, _] = Writer(0).upsert(A, 1, "ann's text", ("user:ann",))
    log.append(INDEX, 0, *put)
    assert waited(view, token(log, offset, A), caller=ANN) == ["reflected"]
    assert waited(view, token(log, offset, A), caller=BOB, timeout_s=0.2) == ["not_yet"]
    assert waited(view, token(log, offset, B), caller=BOB, timeout_s=0.2) == ["not_yet"], "as if it did not exist"


def test_tokens_survive_the_wire() -> None:
    """A token comes back as it was; anything else is rejected by name."""
    made = WriteToken("cluster/topic é", 3, 99, DocKey("docs", "a/b c"))
    assert WriteToken.parse(str(made)) == made
    forged = (made._replace(offset=-1), made._replace(partition=-1), made._replace(partition=2**40))
    for bad in ("", "x", "AAAA", str(made)[:-4], str(made) + "!", *map(str, forged)):
        with pytest.raises(Rejected, match="bad_token"):
            WriteToken.parse(bad)


def test_stopping_twice_and_unstarted(log: MemoryLog, tmp_path: Path) -> None:
    """A view that was never started stops as well as one that was."""
    view = IndexView(Settings(data_dir=tmp_path), log)
    view.stop()
    assert not view.ready().is_ready
