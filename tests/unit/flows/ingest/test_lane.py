"""The lane converges: any order, duplicates, crashes at any point and a compacted log give the fold of the events."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka.records import OutRecord, Record
from flows.chunking import Chunk
from flows.ingest.events import Event, Tick, decode
from flows.ingest.lane import LETTER_ROOM_BYTES, SPARE_ENDS, Lane, Resolved, Work
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.index import DOC, SEEN, DocKey, IndexEntry, LogKey, Outcome, SeenRecord, SourcePosition
from schemas.join import DocumentState, fold, join
from schemas.wire import from_ms
from tests.histories import INDEXES, START_MS, disturbed, expected_documents, history, records_of

NOW = START_MS + 10**9


def _chunks(text: str) -> list[Chunk]:
    chunks, at = [], 0
    for paragraph in text.split("\n\n"):
        start = text.index(paragraph, at)
        at = start + len(paragraph)
        if paragraph.strip():
            chunks.append(Chunk(start, at, paragraph, str(hash(paragraph)), len(paragraph.split())))
    return chunks


@dataclass
class World:
    """Kafka and the vector store around a lane, in a few lines: a log and a set of rows, written in the product's order."""

    source: Sequence[Record]
    log: list[OutRecord] = field(default_factory=list)
    rows: dict[str, tuple[str, ...]] = field(default_factory=dict)
    garbage: list[tuple[DocKey, tuple[str, ...]]] = field(default_factory=list)
    position: int = 0
    max_record_bytes: int = 10**6

    def resolve(self, event: Event) -> Resolved:
        text = event.change.content.text  # type: ignore[union-attr]
        if "BROKEN" in text:
            raise Rejected("malformed", "broken on purpose")
        return Resolved(text, "text/markdown", event.key.doc_id, _chunks(text))

    def recall(self, source: SourcePosition) -> Event | None:
        event = decode(self.source[source.offset], INDEXES)
        return event if isinstance(event, Event) else None

    def open(self) -> Lane:
        lane = Lane(
            0,
            index_topic="index",
            dead_letter_topic="dead",
            missing_allow={"docs": ()},
            max_record_bytes=self.max_record_bytes,
        )
        self.garbage = []
        for offset, record in enumerate(self.log):
            superseded = lane.restore(Record("index", 0, offset, 0, record.key, record.value))
            if superseded:
                self.garbage.append(superseded)
        return lane

    def write(self, works: list[Work]) -> None:
        for work in works:
            for row in work.rows:
                self.rows[row.row_id] = row.scalars.allow

    def publish(self, works: list[Work], lane: Lane) -> None:
        for work in works:
            self.log += [record for record in work.records if record.topic == "index"]
            self.garbage += work.garbage
            self.position = max(self.position, work.position)

    def collect(self, lane: Lane) -> None:
        for key, rows in self.garbage:
            for row in rows:
                self.rows.pop(row, None)
            lane.collected(key, rows)
        self.garbage = []

    def compact(self) -> None:
        last = {record.key: i for i, record in enumerate(self.log)}
        self.log = [record for i, record in enumerate(self.log) if last[record.key] == i]

    def documents(self, now_ms: int = NOW) -> dict[DocKey, tuple[DocumentState, IndexEntry]]:
        """What a reader of the whole log shows."""
        states: dict[str, DocumentState] = {}
        manifests: dict[str, IndexEntry] = {}
        for record in self.log:
            key = LogKey.from_bytes(record.key or b"")
            if key.kind == DOC:
                entry = IndexEntry.from_bytes(record.value or b"")
                manifests[key.name] = entry
                states[key.name] = join(states.get(key.name, DocumentState()), entry.state)
            elif key.kind == SEEN:
                states[key.name] = join(states.get(key.name, DocumentState()), SeenRecord.from_bytes(record.value or b"").state)
        return {
            DocKey.parse(name): (states[name], entry)
            for name, entry in manifests.items()
            if entry.shown and states[name].is_live(now_ms)
        }


def run(world: World, rng: random.Random, *, crash_rate: float = 0.0, now_ms: int = NOW) -> Lane:
    """Drive a lane over the source, losing it at random points between planning, rows and publication."""
    lane = world.open()
    while world.position < len(world.source):
        batch: list[Work] = []
        for record in world.source[world.position : world.position + rng.randint(1, 6)]:
            batch += lane.plan(decode(record, INDEXES), world, now_ms)
        crash = rng.random() < crash_rate
        point = rng.choice(["planned", "written"]) if crash else "published"
        if point != "planned":
            world.write(batch)
        if point == "published":
            world.publish(batch, lane)
            if rng.random() < 0.3:
                world.collect(lane)
        else:
            if rng.random() < 0.5:
                world.compact()
            lane = world.open()
    tick = lane.plan(Tick(0, now_ms, world.position), world, now_ms)
    world.write(tick)
    world.publish(tick, lane)
    world.collect(lane)
    return lane


def assert_is_the_fold(world: World, changes: list[DocumentChange]) -> None:
    expected = expected_documents(changes, NOW)
    shown = world.documents()
    assert set(shown) == set(expected)
    live_rows: set[str] = set()
    for key, (state, entry) in shown.items():
        assert entry.text == expected[key].text
        assert state == expected[key].state
        covered = "".join(entry.passages())
        assert covered.replace("\n", "") == entry.text.replace("\n", "")
        for span in entry.chunks:
            live_rows.add(span.row_id)
            assert world.rows[span.row_id] == state.allow_lists()[-1]
    assert set(world.rows) == live_rows


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), shuffled=st.booleans(), crash_rate=st.sampled_from([0.0, 0.3, 0.7]))
def test_a_lane_converges_to_the_fold(seed: int, shuffled: bool, crash_rate: float) -> None:
    """Documents, access, texts and rows are the fold's, whatever happens on the way."""
    changes = history(seed, documents=12, now_ms=NOW)
    source = records_of(disturbed(changes, seed) if shuffled else changes)
    world = World(source)
    run(world, random.Random(seed), crash_rate=crash_rate)
    assert_is_the_fold(world, changes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_whatever_a_clock_has_done_sending_everything_again_mends_it(seed: int) -> None:
    """A clock that jumps by weeks takes texts away and shows what is over; once it is right, the fold comes of it."""
    changes, rng = history(seed, documents=10, now_ms=NOW), random.Random(seed)
    world = World(records_of([*changes, *changes]))
    lane = world.open()
    for record in world.source:
        now_ms = NOW + rng.choice([-2, 0, 2]) * 10**9 if record.offset < len(changes) else NOW
        works = [*lane.plan(Tick(0, now_ms, world.position), world, now_ms), *lane.plan(decode(record, INDEXES), world, now_ms)]
        world.write(works)
        world.publish(works, lane)
        if rng.random() < 0.1:
            world.collect(lane)
            lane = world.open()
    run(world, rng)
    assert_is_the_fold(world, changes)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_outcomes_of_an_undisturbed_run_are_one_per_event(seed: int) -> None:
    """Every event has exactly one outcome."""
    changes = history(seed, documents=10, now_ms=NOW)
    world = World(records_of(changes))
    lane = world.open()
    for record in world.source:
        works = lane.plan(decode(record, INDEXES), world, NOW)
        assert [w.source for w in works if w.outcome is not None] == [SourcePosition(0, record.offset)]


def _change(**fields: object) -> DocumentChange:
    when = from_ms(START_MS + int(fields.pop("v")) * 1000)  # type: ignore[call-overload]
    return DocumentChange.model_validate({"doc_id": "d", "event_time": when, **fields})


def _outcomes(world: World) -> list[Outcome | None]:
    lane = world.open()
    outcomes = []
    for record in world.source:
        works = lane.plan(decode(record, INDEXES), world, NOW)
        world.write(works)
        world.publish(works, lane)
        outcomes += [w.outcome for w in works if w.source]
    return outcomes


UP = {"op": "upsert", "acl": ["*"]}


def test_a_repeated_event_is_fenced_and_a_newer_one_with_the_same_content_is_unchanged() -> None:
    """Neither embeds; the second one's version is published, so that nothing older wins later."""
    first = _change(v=4, **UP, content={"text": "A"})
    newer = _change(v=6, **UP, content={"text": "A"})
    late = _change(v=5, **UP, content={"text": "B"})
    world = World(records_of([first, first, newer, late]))
    assert _outcomes(world) == [Outcome.INDEXED, Outcome.FENCED, Outcome.UNCHANGED, Outcome.FENCED]
    ((_, entry),) = world.documents().values()
    assert entry.text == "A"


def test_an_unchanged_version_survives_a_crash() -> None:
    """Interleaving 1: A@4, A@6 unchanged, crash, late B@5 must not win."""
    world = World(records_of([_change(v=4, **UP, content={"text": "A"}), _change(v=6, **UP, content={"text": "A"})]))
    _outcomes(world)
    world.compact()
    late = records_of([*(_change(v=1, op="delete") for _ in range(2)), _change(v=5, **UP, content={"text": "B"})])[2]
    works = world.open().plan(decode(late, INDEXES), world, NOW)
    assert [w.outcome for w in works] == [Outcome.FENCED]


def test_rows_of_a_text_that_came_back_are_not_the_rows_that_are_deleted() -> None:
    """Interleaving 4: A→B→A; the late delete of A's first rows hits nothing that is shown."""
    texts = ["A", "B", "A"]
    world = World(records_of([_change(v=i, **UP, content={"text": t}) for i, t in enumerate(texts)]))
    _outcomes(world)
    ((_, entry),) = world.documents().values()
    current = {span.row_id for span in entry.chunks}
    assert current
    assert current.isdisjoint(row for _, rows in world.garbage for row in rows)


def test_a_carried_chunk_keeps_its_row_and_is_not_embedded_again() -> None:
    """An edit of the second paragraph leaves the first one's row alone."""
    world = World(
        records_of([_change(v=1, **UP, content={"text": "one\n\ntwo"}), _change(v=2, **UP, content={"text": "one\n\n2"})])
    )
    lane = world.open()
    first, second = [lane.plan(decode(r, INDEXES), world, NOW)[0] for r in world.source]
    assert [row.text for row in first.rows] == ["one", "two"]
    assert [row.text for row in second.rows] == ["2"]
    assert second.reused_rows == 1


def test_an_access_change_rewrites_scalars_but_embeds_nothing() -> None:
    """Rows get the new allow-list; the text isn't published again."""
    world = World(records_of([_change(v=1, **UP, content={"text": "one"}), _change(v=2, op="access", acl=["group:hr"])]))
    lane = world.open()
    _, access = [lane.plan(decode(r, INDEXES), world, NOW)[0] for r in world.source]
    assert access.outcome == Outcome.ACCESS_ONLY
    assert [(row.text, row.scalars.allow) for row in access.rows] == [(None, ("group:hr",))]
    assert [LogKey.from_bytes(r.key or b"").kind for r in access.records] == [SEEN]


def test_a_broken_text_is_a_dead_letter_whose_narrower_acl_applies() -> None:
    """The old text stays, for those on both lists; neighbours are untouched."""
    broken = _change(v=2, op="upsert", acl=["group:hr"], content={"text": "BROKEN"})
    world = World(records_of([_change(v=1, **UP, content={"text": "one"}), broken]))
    assert _outcomes(world) == [Outcome.INDEXED, Outcome.DEAD_LETTERED]
    ((state, entry),) = world.documents().values()
    assert entry.text == "one"
    assert state.is_stale
    assert not state.readable_by(frozenset({"*"}))
    assert state.readable_by(frozenset({"*", "group:hr"}))


def test_a_manifest_that_is_too_large_is_a_dead_letter_before_any_row_is_written() -> None:
    """Size is checked before the upsert."""
    world = World(records_of([_change(v=1, **UP, content={"text": "x" * 5000})]), max_record_bytes=4000)
    works = world.open().plan(decode(world.source[0], INDEXES), world, NOW)
    assert [w.outcome for w in works] == [Outcome.DEAD_LETTERED]
    assert works[0].dead_letter is not None
    assert works[0].dead_letter.reason == "manifest_too_large"
    assert works[0].dead_letter.raw == world.source[0].value
    assert not works[0].rows


def test_a_document_that_ends_gets_a_tombstone_that_keeps_its_version() -> None:
    """After the end, rows go; an older event doesn't bring it back."""
    ends = _change(v=1, **UP, content={"text": "one"}, ttl_seconds=5)
    world = World(records_of([ends]))
    lane = world.open()
    early = START_MS + 2_000
    world.publish(lane.plan(decode(world.source[0], INDEXES), world, early), lane)
    assert len(world.documents(early)) == 1
    works = lane.plan(Tick(0, NOW, 1), world, NOW)
    assert [len(rows) for w in works for _, rows in w.garbage] == [1]
    tombstone = orjson.loads(works[0].records[0].value or b"")
    assert tombstone["shown"] is False
    assert tombstone["registers"]["content"][0] == START_MS + 1_000


def test_a_text_that_lives_again_through_a_late_event_is_read_back_from_the_log() -> None:
    """Content v5 had ended by v3's word; v4, late, extends that: the fold shows v5 again, and so does the lane."""
    v3 = _change(v=3, **UP, content={"text": "three"}, ttl_seconds=5)
    v5 = _change(v=5, op="upsert", content={"text": "five"})
    v4 = _change(v=4, op="upsert", content={"text": "four"}, expires_at=None)
    changes = [v3, v5, v4]
    world = World(records_of(changes))
    run(world, random.Random(1))
    assert_is_the_fold(world, changes)
    assert [entry.text for _, entry in world.documents().values()] == ["five"]


def test_a_text_that_would_live_again_but_is_broken_stays_hidden_and_blames_nobody_else() -> None:
    """v5 had ended before it was ever parsed; v4, late and sound, extends its life: v4 is no dead letter for that."""
    v3 = _change(v=3, **UP, content={"text": "three"}, ttl_seconds=5)
    v5 = _change(v=5, op="upsert", content={"text": "BROKEN"})
    v4 = _change(v=4, op="upsert", content={"text": "four"}, expires_at=None)
    world = World(records_of([v3, v5, v4, _change(v=6, op="access", acl=["group:hr"])]))
    assert _outcomes(world)[2:] == [Outcome.ACCESS_ONLY, Outcome.ACCESS_ONLY]
    assert not world.documents()


@pytest.mark.parametrize("mending", [{"op": "upsert", "content": {"text": "one"}}, {"op": "access", "acl": ["*"]}])
def test_a_text_that_a_wrong_clock_took_away_comes_back_with_any_event(mending: dict[str, object]) -> None:
    """A minute too far its end seemed over; the same message again, or any other, shows it."""
    ends = _change(v=1, **UP, content={"text": "one"}, ttl_seconds=60)
    version = 1 if mending["op"] == "upsert" else 2
    again = _change(v=version, **(UP | mending), **({"ttl_seconds": 60} if version == 1 else {}))
    world = World(records_of([ends, again]))
    lane, right, wrong = world.open(), START_MS + 2_000, START_MS + 90_000

    def plan(item: Record | Tick, now_ms: int) -> list[Work]:
        works = lane.plan(item if isinstance(item, Tick) else decode(item, INDEXES), world, now_ms)
        world.write(works)
        world.publish(works, lane)
        return works

    plan(world.source[0], right)
    plan(Tick(0, wrong, 1), wrong)
    assert not world.documents(right)
    plan(world.source[1], right)
    ((_, entry),) = world.documents(right).values()
    assert entry.text == "one"
    world.collect(lane)
    assert {span.row_id for span in entry.chunks} == set(world.rows)
    assert [work.outcome for work in plan(world.source[1], right)] == [Outcome.FENCED]
    assert lane.plan(Tick(0, wrong, 1), world, wrong)[0].records


def test_a_repeated_event_of_a_document_whose_text_cannot_be_shown_is_fenced() -> None:
    """Nothing advances: whoever sends the text itself again learns why it isn't shown."""
    v3 = _change(v=3, **UP, content={"text": "three"}, ttl_seconds=5)
    v5 = _change(v=5, op="upsert", content={"text": "BROKEN"})
    v4 = _change(v=4, op="upsert", content={"text": "four"}, expires_at=None)
    world = World(records_of([v3, v5, v4, v4, v5]))
    assert _outcomes(world)[2:] == [Outcome.ACCESS_ONLY, Outcome.FENCED, Outcome.DEAD_LETTERED]
    assert not world.documents()


def test_what_is_remembered_of_ends_grows_with_documents_not_with_events() -> None:
    """A thousand later ends, then two hundred earlier ones; the last one counts."""
    end, text = NOW + 10**6, {"op": "upsert", "content": {"text": "one"}}
    later = [_change(v=v, **text, expires_at=from_ms(end + v)) for v in range(1_000)]
    sooner = [_change(v=v, op="access", expires_at=from_ms(end - v)) for v in range(1_000, 1_200)]
    world = World(records_of([*later, *sooner]))
    lane = world.open()
    for record in world.source:
        lane.plan(decode(record, INDEXES), world, NOW)
        assert len(lane._ends) <= 2 + SPARE_ENDS
    ends = end - 1_199
    assert not any(work.records for work in lane.plan(Tick(0, ends - 1, 1), world, ends - 1))
    assert len([work for work in lane.plan(Tick(0, ends, 1), world, ends) if work.records]) == 1
    assert not any(work.records for work in lane.plan(Tick(0, NOW * 2, 1), world, NOW * 2))
    assert not lane._ends


def test_a_document_that_is_refreshed_is_watched_once() -> None:
    """Whether by time to live or by an end: the heap finds out about the later end when the first one comes."""
    fresh = [_change(v=v, **UP, content={"text": str(v % 2)}, ttl_seconds=3600) for v in range(1_000)]
    world = World(records_of(fresh))
    lane, newest = world.open(), START_MS + 999_000
    for record in world.source:
        lane.plan(decode(record, INDEXES), world, newest)
    assert len(lane._ends) == 1
    first, last = START_MS + 3_600_000, newest + 3_600_000
    assert not any(work.records for now in (first, last - 1) for work in lane.plan(Tick(0, now, 1), world, now))
    assert any(work.records for work in lane.plan(Tick(0, last, 1), world, last))


def _names(n: int) -> list[str]:
    """A list as large as one may be, another for each `n`."""
    return [f"user:{n:03}-{'é' * 40}-{i:03}"[:45] + f"{i:03}" for i in range(180)]


def test_nothing_that_is_published_is_larger_than_a_message() -> None:
    """Whatever comes: one record that Kafka refuses would stop the lane for good, at every start again."""
    limit = 640 * 1024
    paragraphs = ["\n\n".join(f"{r} {n}" for n in range(3_500)) for r in range(7)]
    grants = [_change(v=v, op="access", acl=_names(v)) for v in range(1, 41)]
    rewritten = [_change(v=200 + r, op="upsert", content={"text": text}) for r, text in enumerate(paragraphs)]
    changes = [
        *grants,
        *rewritten,
        _change(v=300, op="delete"),
        _change(v=1, doc_id="e", op="upsert", content={"text": "BROKEN"}),
    ]
    unpacked = Record("rag.documents", 0, 999, START_MS, b"bomb", b" " * 3 * limit, headers=(("note", b"x" * limit),))
    long_key = Record("rag.documents", 0, 1_000, START_MS, b"k" * 2 * limit, None)
    world = World([*records_of(changes), unpacked, long_key], max_record_bytes=limit)
    lane, dead = world.open(), []
    for record in world.source:
        works = lane.plan(decode(record, INDEXES), world, NOW)
        world.publish(works, lane)
        sent = [record for work in works for record in work.records]
        assert max(len(r.value or b"") + sum(len(v) for _, v in r.headers) for r in sent) <= limit + LETTER_ROOM_BYTES
        dead += [work.dead_letter for work in works if work.dead_letter]
    assert [letter.reason for letter in dead] == ["malformed", "not_json", "invalid"]
    assert [(letter.is_complete, letter.raw is None, letter.key is None) for letter in dead[1:]] == [
        (False, True, False),
        (False, True, True),
    ]
    assert not world.documents()


@pytest.mark.parametrize("kind", ["upsert", "access", "delete"])
def test_a_document_nobody_heard_of_starts_with_any_kind(kind: str) -> None:
    """Stubs keep registers for content that comes later."""
    later = _change(v=1, op="upsert", content={"text": "old"})
    first: dict[str, dict[str, object]] = {
        "upsert": {"op": "upsert", "content": {"text": "new"}},
        "access": {"op": "access", "acl": ["*"]},
        "delete": {"op": "delete"},
    }
    changes = [_change(v=2, **first[kind]), later]
    world = World(records_of(changes))
    run(world, random.Random(1))
    assert_is_the_fold(world, changes)
    assert fold(state for state, _ in world.documents().values()).deleted == -1 or kind == "delete"
