"""What `inspect` and `status` say of documents, from logs with every kind of history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.view.peek import peek
from query_api.view.snapshot import ViewSnapshot
from query_api.view.store import ManifestStore, ViewIdentity
from ragstream.inspection.documents import catch_up
from ragstream.inspection.reports import counts, find, moment, readers, report, reports
from schemas.acl import OPERATOR, PUBLIC, AllowList, Principals, allow_list, permits, principals_of
from schemas.errors import Retryable
from schemas.floors import DeleteFloor, Floor
from schemas.index import DocKey, SourcePosition
from schemas.settings import Settings
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import Writer, key_of

INDEX, FLOORS = "rag.index.g1", "rag.floors"
AGAIN = key_of("again")
LIVE, GONE, STALE, SECRET, HR = key_of("live"), key_of("gone"), key_of("stale"), key_of("secret"), key_of("live", "hr")
NOW = 1_700_000_000_000
SETTINGS = Settings()
NAMES = ("group:hr", "group:it", "user:ann")
ALLOW_LISTS = st.sets(st.sampled_from((*NAMES, "*"))).map(allow_list)
CALLERS = st.sets(st.sampled_from((*NAMES, OPERATOR))).map(principals_of)


@pytest.fixture
def log() -> MemoryLog:
    """Five documents: one live, one deleted, one whose newest version failed, one without an ACL, one in another index."""
    log = MemoryLog({INDEX: 2, FLOORS: 2})
    writer = Writer(0)
    pairs = [
        *writer.upsert(LIVE, 1, "one\ntwo"),
        *writer.upsert(GONE, 2, "gone"),
        *writer.delete(GONE, 3),
        *writer.upsert(STALE, 4, "old", ("group:hr",)),
        *writer.fail(STALE, 5, PUBLIC),
        *writer.upsert(SECRET, 6, "mine", None),
        *writer.upsert(HR, 7, "staff"),
    ]
    for key, value in pairs:
        log.append(INDEX, 0, key, value)
    return log


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ManifestStore]:
    """An empty view."""
    identity = ViewIdentity("g1", "log", "floors")
    store = ManifestStore(tmp_path / "0" / "manifests", identity, index_topic=INDEX, floors_topic=FLOORS, missing={})
    yield store.open()
    store.close()


@pytest.fixture
def snapshot(store: ManifestStore, log: MemoryLog) -> Iterator[ViewSnapshot]:
    """Of everything in the log."""
    catch_up(store, log, (FLOORS, INDEX))
    with store.snapshot() as snapshot:
        yield snapshot


def test_a_live_document_is_shown_with_its_chunks(snapshot: ViewSnapshot) -> None:
    """Their texts, rows and places."""
    found = report(snapshot, LIVE, SETTINGS, NOW)
    assert found is not None
    assert (found.status, found.deleted, found.version, found.acl, found.chunk_count) == ("live", False, 1, PUBLIC, 2)
    assert (found.acl_lists, found.expires_at, found.expires_at_ms) == ((PUBLIC,), None, None)
    assert [(chunk.text, chunk.start, chunk.end) for chunk in found.chunks] == [("one", 0, 3), ("two", 4, 7)]
    assert len({chunk.row_id for chunk in found.chunks}) == 2
    assert found.source == SourcePosition(0, 0)


def test_a_deleted_document_keeps_its_version(snapshot: ViewSnapshot) -> None:
    """So that one sees what would have to exceed it."""
    found = report(snapshot, GONE, SETTINGS, NOW)
    assert found is not None
    assert (found.status, found.deleted, found.version, found.chunks) == ("deleted", True, 3, ())


def test_a_failed_version_is_named_and_narrows(snapshot: ViewSnapshot) -> None:
    """A reader must be on both lists; as everybody is on one of them, the other alone is what it takes."""
    found = report(snapshot, STALE, SETTINGS, NOW)
    assert found is not None
    assert (found.status, found.version, found.failed_version) == ("live", 4, 5)
    assert found.acl_lists == (("group:hr",), PUBLIC)
    assert found.acl == ("group:hr",)


def test_a_document_without_acl_is_the_operator_s(snapshot: ViewSnapshot) -> None:
    """An empty list."""
    found = report(snapshot, SECRET, SETTINGS, NOW)
    assert found is not None
    assert (found.acl, found.acl_lists) == ((), ((),))


def test_a_delete_holds_whatever_dead_letter_comes_after_it(store: ManifestStore, log: MemoryLog) -> None:
    """Nothing is shown again: what came is named beside the delete, in `status` too."""
    writer = Writer(1)
    for key, value in [*writer.upsert(AGAIN, 1, "text"), *writer.delete(AGAIN, 2), *writer.fail(AGAIN, 3, PUBLIC)]:
        log.append(INDEX, 1, key, value)
    catch_up(store, log, (FLOORS, INDEX))
    with store.snapshot() as snapshot:
        found = report(snapshot, AGAIN, SETTINGS, NOW)
        counted = counts(snapshot, NOW)["docs"]
    assert found is not None
    assert (found.status, found.deleted, found.failed_version, found.chunks) == ("deleted", True, 3, ())
    assert (counted.deleted, counted.pending) == (2, 0)


def test_an_upsert_that_never_had_a_text_is_pending(store: ManifestStore, log: MemoryLog) -> None:
    """Nobody deleted it."""
    for key, value in Writer(1).fail(AGAIN, 3, PUBLIC):
        log.append(INDEX, 1, key, value)
    catch_up(store, log, (INDEX,))
    with store.snapshot() as snapshot:
        found = report(snapshot, AGAIN, SETTINGS, NOW)
    assert found is not None
    assert (found.status, found.deleted) == ("pending", False)


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, None),
        (1_790_000_000_000, "2026-09-21T14:13:20.000Z"),
        (1_790_000_000_007, "2026-09-21T14:13:20.007Z"),
        (253_402_300_799_999 + 3_600_000, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_an_end_is_a_time_in_utc(ms: int | None, text: str | None) -> None:
    """Also one that has no date any more."""
    assert moment(ms) == text


HR_LIST, IT_LIST, BOTH = ("group:hr",), ("group:it",), ("group:hr", "group:it")


@pytest.mark.parametrize(
    ("lists", "acl"),
    [
        pytest.param((HR_LIST,), HR_LIST, id="one"),
        pytest.param(((),), (), id="operator"),
        pytest.param((HR_LIST, PUBLIC), HR_LIST, id="everybody-is-on-the-other"),
        pytest.param((PUBLIC, ("*", "user:ann")), PUBLIC, id="everybody-on-both"),
        pytest.param((BOTH, HR_LIST), HR_LIST, id="the-narrower"),
        pytest.param((HR_LIST, ()), (), id="operator-among-others"),
        pytest.param((HR_LIST, IT_LIST), (HR_LIST, IT_LIST), id="really-two"),
        pytest.param((HR_LIST, PUBLIC, IT_LIST, BOTH), (HR_LIST, IT_LIST), id="two-of-four"),
    ],
)
def test_what_it_takes_to_read(lists: tuple[AllowList, ...], acl: object) -> None:
    """One list, where that says it; never less than all of them."""
    assert readers(lists) == acl


@given(lists=st.lists(ALLOW_LISTS, min_size=1, max_size=5).map(tuple), caller=CALLERS)
def test_who_may_read_by_the_one_may_read_by_the_other(lists: tuple[AllowList, ...], caller: Principals) -> None:
    """Whatever is left out, nobody gains or loses by it."""
    acl = readers(lists)
    assert _permits(acl, caller) == all(permits(one, caller) for one in lists)


def _permits(acl: AllowList | tuple[AllowList, ...], caller: Principals) -> bool:
    """As a script reads `acl`: names, or lists of them."""
    names = tuple(one for one in acl if isinstance(one, str))
    lists = [one for one in acl if not isinstance(one, str)]
    return all(permits(one, caller) for one in lists) if lists else permits(names, caller)


def test_unknown_documents_are_none(snapshot: ViewSnapshot) -> None:
    """Nothing is made up."""
    assert report(snapshot, key_of("never"), SETTINGS, NOW) is None


def test_a_name_is_found_in_every_index_also_unnamed_ones(snapshot: ViewSnapshot) -> None:
    """Those of the settings first."""
    assert find(snapshot, "live", None, SETTINGS) == [LIVE]
    assert find(snapshot, "live", "hr", SETTINGS) == [HR]
    assert find(snapshot, "never", None, SETTINGS) == []


def test_a_delete_of_the_express_lane_shows_at_once(store: ManifestStore, log: MemoryLog) -> None:
    """Before the write path has come to it."""
    floor = Floor(DeleteFloor(9, SourcePosition(0, 50)))
    log.append(FLOORS, 0, str(LIVE).encode(), floor.to_bytes())
    catch_up(store, log, (FLOORS, INDEX))
    with store.snapshot() as snapshot:
        found = report(snapshot, LIVE, SETTINGS, NOW)
    assert found is not None
    assert (found.status, found.narrowed_ahead, found.chunks) == ("deleted", True, ())


def test_counts_and_reports_agree(snapshot: ViewSnapshot) -> None:
    """By index, without reading texts."""
    counted = counts(snapshot, NOW)
    listed = list(reports(snapshot, SETTINGS, NOW))
    for index, count in counted.items():
        own = [one for one in listed if one.index == index]
        assert count.documents == sum(one.status == "live" for one in own)
        assert count.chunks == sum(one.chunk_count for one in own if one.status == "live")
        assert count.deleted == sum(one.status == "deleted" for one in own)
    assert (counted["docs"].documents, counted["docs"].deleted, counted["hr"].documents) == (3, 1, 1)


def test_reading_on_takes_only_what_is_new(store: ManifestStore, log: MemoryLog) -> None:
    """The second look is quick."""
    left: list[int] = []
    catch_up(store, log, (INDEX,), left.append)
    assert left
    again: list[int] = []
    catch_up(store, log, (INDEX,), again.append)
    assert again == []


def test_a_log_that_starts_later_is_read_anew(store: ManifestStore, log: MemoryLog) -> None:
    """A compacted log tells everything from wherever it starts."""
    catch_up(store, log, (INDEX,))
    for key, value in Writer(0).upsert(key_of("new"), 20, "new"):
        log.append(INDEX, 0, key, value)
    log.append(INDEX, 0, None, None)
    log.drop_before(INDEX, 0, log.ends(INDEX, 1.0)[0] - 1)
    catch_up(store, log, (INDEX,))
    with store.snapshot() as snapshot:
        assert list(snapshot.keys()) == []


def test_another_process_s_view_can_be_looked_into(snapshot: ViewSnapshot, tmp_path: Path) -> None:
    """Only while somebody keeps it."""
    with pytest.raises(Retryable, match="no query worker"), peek(tmp_path, "g1", {}):
        pass


def test_keys_are_documents(snapshot: ViewSnapshot) -> None:
    """One each."""
    assert sorted(snapshot.keys()) == sorted([LIVE, GONE, STALE, SECRET, DocKey("hr", "live")])
