"""What is shown while events wait: nobody reads what one of them takes from them, whatever else waits beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import Record
from flows.express.floors import FloorBook, Place, Sightings, narrows
from flows.ingest.events import Event, Rejection, decode
from query_api.view.access import hides, narrowed
from schemas.acl import OPERATOR_ONLY, PUBLIC, AllowList, permits, principals_of
from schemas.documents import DocumentChange
from schemas.floors import NO_FLOOR, Floor, FloorKey, LaneName, join_floors, standing
from schemas.index import DocKey
from schemas.join import DocumentState, effect_of, fold, join
from schemas.settings import IndexSettings

DOCUMENT = DocKey("docs", "d")
HR, ANN, BOTH = ("group:hr",), ("user:ann",), ("group:hr", "user:ann")
CALLERS = [principals_of(names) for names in (HR, ANN, BOTH, ["user:bob"])]
INDEXES = {"docs": IndexSettings(versions="producer")}
PLACE = Place(FloorKey(DOCUMENT, LaneName("g1", 0)), 0)
BACKLOG = 50_000


def event(
    offset: int, version: int, op: str = "access", acl: AllowList | None = None, doc_id: str = "d", *, is_broken: bool = False
) -> Event | Rejection:
    """As it is read from partition 0. A broken one can't be decoded."""
    change = {"doc_id": doc_id, "op": op, "version": version}
    change |= {"acl": acl} if acl is not None else {}
    change |= {"content": {"text": f"text of v{version}"}} if op == "upsert" else {}
    raw = DocumentChange.model_validate(change).to_bytes()
    if is_broken:
        raw = raw.replace(b'"doc_id"', b'"no_such_field":1,"doc_id"', 1)
    return decode(Record("rag.documents", 0, offset, 0, doc_id.encode(), raw), INDEXES)


def effect(item: Event | Rejection) -> DocumentState:
    """What it is for the write path."""
    if isinstance(item, Rejection):
        assert item.salvage is not None, item.detail
        return item.salvage
    return item.effect()


def readers(state: DocumentState, floor: Floor, missing: AllowList = OPERATOR_ONLY) -> set[int]:
    """Callers who may read what a manifest with `state` shows under `floor`."""
    if state.content is None or hides(floor, state):
        return set()
    lists = narrowed(floor, state, missing)
    return {n for n, caller in enumerate(CALLERS) if all(permits(allow, caller) for allow in lists)}


def everybody_on(allow: AllowList) -> set[int]:
    return {n for n, caller in enumerate(CALLERS) if permits(allow, caller)}


@dataclass
class Lane:
    """One partition's log: how far its express lane has read, what the write path has planned, published, and a view has read."""

    log: list[tuple[int, Event | Rejection]]
    before: DocumentState
    missing: AllowList = OPERATOR_ONLY
    sightings: Sightings = field(default_factory=Sightings)
    book: FloorBook = field(default_factory=FloorBook)
    read: int = 0
    planned: int = 0
    published: int = 0
    viewed: int = 0
    in_time: set[int] = field(default_factory=set)
    raised: set[int] = field(default_factory=set)
    record: Floor = NO_FLOOR
    held: Floor = NO_FLOOR

    def offset(self, position: int) -> int:
        """The offset that a reader reads next."""
        return self.log[position][0] if position < len(self.log) else self.log[-1][0] + 1

    def state(self, position: int) -> DocumentState:
        return fold([self.before, *(effect(item) for _, item in self.log[:position])])

    def read_ahead(self) -> None:
        """The next event, by the express lane."""
        if self.read == len(self.log):
            return
        known = self.state(self.planned)
        found = narrows(self.log[self.read][1], known if known != DocumentState() else None, self.sightings)
        if self.published <= self.read:
            self.in_time.add(self.read)
            if found is not None:
                self.raised.add(self.read)
                self.raise_floor(found[1])
        self.read += 1

    def raise_floor(self, floor: Floor) -> None:
        joined = self.book.raise_floor(PLACE, floor, {0: self.offset(self.published)})
        if joined is not None:
            self.record = Floor.from_bytes(joined.to_bytes())
            self.held = join_floors(standing(self.held, {0: self.offset(self.viewed)}), self.record)

    def plan(self) -> None:
        self.planned = min(self.planned + 1, len(self.log))

    def publish(self) -> None:
        self.published = min(self.published + 1, self.planned)

    def view(self) -> None:
        self.viewed = min(self.viewed + 1, self.published)

    def clear(self) -> None:
        if self.book.passed({0: self.offset(self.published)}):
            self.record = NO_FLOOR

    def restart(self) -> None:
        """Of the process: what was planned and not published is planned again. Of views there is one that begins anew."""
        self.read = self.planned = self.viewed = self.published
        self.sightings, self.book = Sightings(), FloorBook()
        self.book.restore(PLACE, self.record if self.record != NO_FLOOR else None)
        self.held = self.record

    def shown_to(self) -> set[int]:
        """Those to whom a view shows the document."""
        return readers(self.state(self.viewed), standing(self.held, {0: self.offset(self.viewed)}), self.missing)

    def allowed(self) -> set[int]:
        """Those from whom no event that waits, was read, and is newer than what is shown takes it.

        A view that has yet to read what is published may miss what needed no floor because of that.
        """
        state = self.state(self.viewed)
        waiting = sorted(self.in_time if self.viewed == self.published else self.raised)
        callers = readers(state, NO_FLOOR, self.missing)
        for change in (effect(self.log[position][1]) for position in waiting if position >= self.viewed):
            if change.deleted >= state.content_version:
                return set()
            if change.deleted >= 0:
                callers &= readers(join(state, change), NO_FLOOR, self.missing)
            for entry in change.access:
                if entry.version > state.content_version:
                    callers &= everybody_on(entry.allow)
        return callers


def shown(version: int, allow: AllowList) -> DocumentState:
    return effect_of(version=version, digest=f"d{version}", allow=allow)


def test_a_grant_that_waits_beside_a_revocation_does_not_lift_it() -> None:
    """Leaked, revoked, published anew without the secret: the leaked text stays closed until the new one is there."""
    for grant in (PUBLIC, ("group:hr", "user:ann", "user:bob")):
        lane = Lane([(10, event(10, 6, acl=HR)), (11, event(11, 7, "upsert", grant))], shown(5, PUBLIC))
        lane.read_ahead()
        lane.read_ahead()
        assert lane.shown_to() == everybody_on(HR)
        for move in (lane.plan, lane.publish, lane.view):
            move()
        assert lane.shown_to() == everybody_on(HR), "the manifest has the revocation; the grant waits for its text"
        for move in (lane.plan, lane.publish, lane.view):
            move()
        assert lane.shown_to() == everybody_on(grant)


def test_an_old_event_that_is_sent_again_hides_no_revocation() -> None:
    """v2 is open to all; v1, for hr, comes once more, and then v3, for hr: what it takes it takes at once."""
    lane = Lane([(11, event(11, 1, acl=HR)), (BACKLOG, event(BACKLOG, 3, acl=HR))], shown(2, PUBLIC))
    lane.read_ahead()
    assert lane.shown_to() == everybody_on(PUBLIC), "v1 is older than what is shown, and takes nothing"
    lane.read_ahead()
    for move in (lane.plan, lane.publish, lane.clear, lane.view):
        move()
    assert lane.shown_to() == everybody_on(HR)


def test_a_deleted_document_s_list_is_not_taken_for_the_one_in_force() -> None:
    """A delete ends what was said of access: a text without a list is for whom the index says, until the next list comes."""
    log = [event(1, 5, "delete"), event(2, 6, "upsert"), event(3, 7, acl=HR)]
    lane = Lane(list(enumerate(log, 1)), shown(4, HR), missing=PUBLIC)
    for _ in log:
        lane.read_ahead()
    for _ in range(2):
        for move in (lane.plan, lane.publish, lane.view):
            move()
    assert lane.shown_to() == everybody_on(HR)


def test_a_list_that_waits_behind_a_text_without_one_takes_hold_with_that_text() -> None:
    """Nothing was known of the document; what the text says nothing of, the index says: everybody."""
    log = [event(1, 5, "upsert"), event(2, 6, acl=HR)]
    lane = Lane(list(enumerate(log, 1)), DocumentState(), missing=PUBLIC)
    for move in (lane.read_ahead, lane.read_ahead, lane.plan, lane.publish, lane.view):
        move()
    assert lane.shown_to() == everybody_on(HR)


def test_a_late_delete_ends_the_list_of_a_newer_text_at_once() -> None:
    """The text came after it and says nothing of access; what it was read under came before."""
    opened = fold([effect_of(version=3, digest="d3", allow=PUBLIC), effect_of(version=9, digest="d9")])
    lane = Lane([(1, event(1, 5, "delete"))], opened)
    assert lane.shown_to() == everybody_on(PUBLIC)
    lane.read_ahead()
    assert lane.shown_to() == set()


def test_what_opens_a_document_to_everybody_raises_no_floor() -> None:
    """It takes nothing from anybody."""
    assert narrows(event(1, 5, acl=PUBLIC), shown(4, HR), Sightings()) is None


def replayed(versions: range, sightings: Sightings, documents: int = 10_000, allow: AllowList = HR) -> int:
    """Floors that documents raise of which the newest known version is 4, for hr, and which come again, one version at a time."""
    known = shown(4, HR)
    return sum(
        narrows(event(offset, version, "upsert", allow, f"d{offset}"), known, sightings) is not None
        for version in versions
        for offset in range(documents)
    )


def test_documents_that_come_again_unchanged_raise_no_floors() -> None:
    """Crawled anew: at 20,000 events a second each of them would be a record."""
    sightings = Sightings()
    assert replayed(range(5, 6), sightings) == 0
    assert replayed(range(5, 7), sightings) == 0, "the same once more, and once more anew"


def test_documents_that_come_again_under_their_old_version_raise_one_floor_each() -> None:
    """Whether it is their very event, on its way still, can't be told the first time."""
    sightings = Sightings()
    assert replayed(range(4, 5), sightings, 100) == 100
    assert replayed(range(4, 5), sightings, 100) == 0


def test_documents_beyond_what_is_remembered_raise_no_floors_either_while_nothing_changes() -> None:
    """What is forgotten of an unchanged document is what is known of it."""
    sightings = Sightings(most=10)
    assert replayed(range(5, 8), sightings, 100) == 0


def test_new_documents_beyond_what_is_remembered_raise_no_floors() -> None:
    """A rebuild: nothing is shown of them, and nothing earlier is on its way, however many there are."""
    sightings = Sightings(most=10)
    first = [narrows(event(n, 1, "upsert", HR, f"new{n}"), None, sightings) for n in range(300)]
    assert [floor for floor in first if floor is not None] == []
    assert narrows(event(300, 2, "access", ANN, "new0"), None, sightings) is not None


@pytest.mark.parametrize("before", [shown(5, HR), None], ids=["known", "unknown"])
def test_a_change_that_was_forgotten_is_not_taken_for_none(before: DocumentState | None) -> None:
    """A grant waits, is forgotten, and what comes after it takes back what it gives."""
    sightings = Sightings(most=10)
    narrows(event(0, 6, acl=PUBLIC), before, sightings)
    replayed(range(5, 6), sightings, 100)
    assert narrows(event(200, 4, acl=HR), before, sightings) is not None
    assert narrows(event(201, 7, acl=HR), before, sightings) is not None


acls = st.sampled_from([HR, ANN, BOTH, PUBLIC, OPERATOR_ONLY])
versions = st.integers(1, 9)
drafts = st.tuples(
    versions,
    st.sampled_from(["access", "access", "upsert", "delete"]),
    acls,
    st.booleans(),
    st.booleans(),
)
ACTS = ("read_ahead", "read_ahead", "plan", "publish", "view", "clear", "restart")


@st.composite
def lanes(draw: st.DrawFn) -> Lane:
    """Any changes in any order of versions over a document that may be shown already."""
    log: list[tuple[int, Event | Rejection]] = []
    for offset, (version, op, acl, says, is_broken) in enumerate(draw(st.lists(drafts, min_size=1, max_size=14))):
        allow = acl if op == "access" or (op == "upsert" and says) else None
        log.append((offset, event(offset, version, op, allow, is_broken=is_broken and op == "upsert" and says)))
    before = draw(st.just(DocumentState()) | st.builds(shown, st.integers(1, 5), acls))
    return Lane(log, before, draw(st.sampled_from([OPERATOR_ONLY, PUBLIC])))


@given(lanes(), st.lists(st.sampled_from(ACTS), min_size=8, max_size=60))
def test_nobody_is_shown_what_an_event_that_waits_takes_from_them(lane: Lane, acts: list[str]) -> None:
    """Whatever waits beside it, in whatever order, and however far the write path has planned, published, or a view has read."""
    for act in acts:
        getattr(lane, act)()
        assert lane.shown_to() <= lane.allowed()
    while lane.viewed < len(lane.log):
        for move in (lane.plan, lane.publish, lane.view):
            move()
    lane.clear()
    assert lane.record == NO_FLOOR
    assert lane.shown_to() == readers(lane.state(len(lane.log)), NO_FLOOR, lane.missing), "nothing that was passed narrows"
