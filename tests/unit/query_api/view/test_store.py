"""The view on disk: one transaction a batch, resumed, emptied when it doesn't fit, and what its snapshots say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from connectors.kafka import Record
from connectors.kafka.topic_specs import DAY_MS, DELETE_RETENTION_MS
from query_api.view.folder import ClaimedFolder
from query_api.view.store import MAX_AWAY_MS, ManifestStore, ViewIdentity
from schemas.acl import OPERATOR, PUBLIC, principals_of
from schemas.errors import Fatal, Misconfigured
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor
from schemas.index import DocKey, OutcomeRun, SourcePosition
from schemas.join import effect_of, fold
from tests.unit.query_api.view.test_records import Delivered, Event, deliveries
from tests.unit.query_api.view.writing import KeyValue, Writer, digest_of, key_of, manifest, progress, seen

INDEX, FLOORS = "rag.index.g1", "rag.floors"
A, B = key_of("a"), key_of("b")
ANN, HR, OPS = principals_of(["user:ann"]), principals_of(["group:hr"]), principals_of([OPERATOR])
NOW = 1_700_000_000_000

OpenStore = Callable[..., ManifestStore]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the same folder again and again."""
    stores: list[ManifestStore] = []

    def open_store(
        log: str = "log-1", generation: str = "g1", missing: dict[str, tuple[str, ...]] | None = None, at_ms: int = NOW
    ) -> ManifestStore:
        identity = ViewIdentity(generation, log, "floors-1")
        store = ManifestStore(
            tmp_path / "m", identity, index_topic=INDEX, floors_topic=FLOORS, missing=missing or {}, now_ms=lambda: at_ms
        )
        stores.append(store.open())
        return store

    yield open_store
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: OpenStore) -> ManifestStore:
    """An empty one."""
    return opened()


def records(*pairs: KeyValue, partition: int = 0, start: int = 0) -> list[Record]:
    """Records of the index, at consecutive offsets."""
    return [Record(INDEX, partition, start + n, 0, key, value) for n, (key, value) in enumerate(pairs)]


def floor_record(key: DocKey, floor: Floor | None, offset: int = 0) -> Record:
    """A record of the floors."""
    return Record(FLOORS, 0, offset, 0, str(key).encode(), floor.to_bytes() if floor else None)


def text_of(store: ManifestStore, key: DocKey) -> str | None:
    """What the view shows of a document, to whom it may concern."""
    with store.snapshot() as snapshot:
        document = snapshot.document(key)
        return document.entry.text if document else None


def readable(store: ManifestStore, key: DocKey, caller: frozenset[str], now_ms: int = NOW) -> bool:
    """Whether a caller may be shown a document."""
    with store.snapshot() as snapshot:
        document = snapshot.document(key)
        return document is not None and snapshot.is_readable(document, caller, now_ms)


def test_shows_what_was_published(store: ManifestStore) -> None:
    """Text, passages by row id, version, progress."""
    store.apply(records(*Writer(0).upsert(A, 7, "first line\nsecond line")))
    with store.snapshot() as snapshot:
        document = snapshot.document(A)
        assert document is not None
        assert (document.version, document.entry.text, len(document.rows)) == (7, "first line\nsecond line", 2)
        row = document.chunks[1].row_id
        assert document.passage(document.rows[row]) == "second line"
        assert snapshot.is_readable(document, ANN, NOW)
        assert snapshot.progress() == {0: 1}
        assert list(snapshot.keys()) == [A]
        assert snapshot.document(B) is None


def test_a_snapshot_does_not_move(store: ManifestStore) -> None:
    """What a query checks first and last is the same state, whatever is applied meanwhile."""
    writer = Writer(0)
    store.apply(records(*writer.upsert(A, 1, "old")))
    with store.snapshot() as snapshot:
        store.apply(records(*writer.upsert(A, 2, "new"), *writer.upsert(B, 3, "other"), start=2))
        document = snapshot.document(A)
        assert document is not None and document.entry.text == "old"
        assert snapshot.document(B) is None and snapshot.progress() == {0: 1}
    assert text_of(store, A) == "new"


def test_one_version_at_every_step(store: ManifestStore) -> None:
    """A→B→A with deletes: after every record exactly the rows of one revision are shown, none of an earlier one."""
    writer = Writer(0)
    log = [
        *writer.upsert(A, 1, "x\ny"),
        *writer.upsert(A, 2, "y\nz"),
        *writer.upsert(A, 3, "x\ny"),
        *writer.delete(A, 4),
        *writer.upsert(A, 5, "x"),
    ]
    shown: list[str | None] = []
    for record in records(*log):
        store.apply([record])
        shown.append(text_of(store, A))
    assert shown[::2] == shown[1::2] == ["x\ny", "y\nz", "x\ny", None, "x"]


def test_known_records_change_nothing(store: ManifestStore) -> None:
    """Reading again from an earlier position is harmless."""
    writer = Writer(0)
    log = records(*writer.upsert(A, 1, "old"), *writer.upsert(A, 2, "new"))
    store.apply(log)
    store.apply(log[:2])
    assert text_of(store, A) == "new"
    assert store.positions(INDEX) == {0: 4}


def test_access_change_narrows_without_a_new_manifest(store: ManifestStore) -> None:
    """A register record is enough to revoke, and the keyword index is not bothered."""
    writer = Writer(0)
    store.apply(records(*writer.upsert(A, 1, "text")))
    store.settle(store.dirty(10))
    store.apply(records(*writer.access(A, 2, ("group:hr",)), start=2))
    assert not readable(store, A, ANN)
    assert readable(store, A, HR) and readable(store, A, OPS)
    assert store.dirty(10) == []


def test_missing_access_follows_the_setting(opened: OpenStore) -> None:
    """Without an ACL a document is the operator's, or everyone's where the index says so."""
    log = records(*Writer(0).upsert(A, 1, "text", allow=None))
    closed = opened(missing={"docs": ()})
    closed.apply(log)
    assert not readable(closed, A, ANN) and readable(closed, A, OPS)
    closed.close()
    everyone = opened(missing={"docs": PUBLIC})
    everyone.apply(log)
    assert readable(everyone, A, ANN)


def test_expiry_is_the_reader_s_moment(store: ManifestStore) -> None:
    """A document ends at the second, whether or not the tombstone has come."""
    state = effect_of(version=1, digest=digest_of("t"), allow=PUBLIC, carries_expiry=True, expires_at_ms=NOW)
    store.apply(records(manifest(A, state, "t", SourcePosition(0, 0))))
    assert readable(store, A, ANN, NOW - 1)
    assert not readable(store, A, ANN, NOW)


def test_floors_hide_and_narrow_until_progress_passes(store: ManifestStore) -> None:
    """A revocation reaches readers before the manifest does; afterwards the manifest alone decides."""
    writer = Writer(0)
    store.apply(records(*writer.upsert(A, 1, "text"), *writer.upsert(B, 1, "text")))
    floors = [
        floor_record(A, Floor(access=(AccessFloor(2, ("group:hr",), SourcePosition(0, 5)),)), 0),
        floor_record(B, Floor(delete=DeleteFloor(2, SourcePosition(0, 6))), 1),
    ]
    store.apply(floors)
    assert not readable(store, A, ANN) and readable(store, A, HR)
    assert text_of(store, B) is None
    store.apply(records(progress(0, 6), start=4))
    assert readable(store, A, ANN), "the event at 5 was fenced: what the manifest says holds"
    assert text_of(store, B) is None
    store.apply([floor_record(B, None, 2)])
    store.apply(records(progress(0, 7), start=5))
    assert text_of(store, B) == "text"


def test_a_floor_that_is_cleared_narrows_until_the_view_has_passed_it(store: ManifestStore) -> None:
    """Its floor is cleared, the write path being past the delete; a view that is behind must not show the text again."""
    store.apply(records(*Writer(0).upsert(A, 1, "text"), progress(0, 1)))
    floor = Floor(DeleteFloor(2, SourcePosition(0, 6)), (AccessFloor(1, (), SourcePosition(0, 3)),))
    store.apply([floor_record(A, floor, 0), floor_record(A, None, 1)])
    assert text_of(store, A) is None
    store.apply(records(progress(0, 5), start=9))
    assert text_of(store, A) is None
    store.apply(records(progress(0, 7), start=10))
    assert text_of(store, A) == "text", "the delete was fenced: what the manifest says holds"
    store.apply([floor_record(A, None, 2)])
    with store.snapshot() as snapshot:
        assert snapshot.floor(A) == NO_FLOOR


def test_a_later_floor_does_not_lift_an_earlier_one(store: ManifestStore) -> None:
    """Delete v9 is queued and access v10 raises a floor of its own: still hidden, even if the writer forgot to join."""
    store.apply(records(*Writer(0).upsert(A, 8, "text")))
    store.apply([floor_record(A, Floor(delete=DeleteFloor(9, SourcePosition(0, 5))), 0)])
    store.apply([floor_record(A, Floor(access=(AccessFloor(10, PUBLIC, SourcePosition(0, 6)),)), 1)])
    assert text_of(store, A) is None


def test_resumes_where_it_stopped(opened: OpenStore) -> None:
    """Documents, positions, floors and what the keyword index owes are there again."""
    missing = {"docs": (), "public": PUBLIC}
    first = opened(missing=missing)
    first.apply([*records(*Writer(0).upsert(A, 1, "text")), floor_record(A, Floor(delete=DeleteFloor(0, SourcePosition(0, 9))))])
    stamp = first.stamp
    first.close()
    again = opened(missing=missing)
    assert again.stamp == stamp
    assert text_of(again, A) == "text"
    assert (again.positions(INDEX), again.positions(FLOORS)) == ({0: 2}, {0: 1})
    assert [item.key for item in again.dirty(10)] == [A]


@pytest.mark.parametrize("other", [{"log": "log-2"}, {"generation": "g2"}, {"missing": {"docs": PUBLIC}}])
def test_emptied_when_it_does_not_fit(opened: OpenStore, other: dict[str, object]) -> None:
    """Another log, generation or meaning of a missing ACL: read again, under another stamp."""
    first = opened()
    first.apply(records(*Writer(0).upsert(A, 1, "text")))
    stamp = first.stamp
    first.close()
    again = opened(**other)
    assert again.stamp != stamp
    assert text_of(again, A) is None and again.positions(INDEX) == {}


def test_damaged_files_are_emptied(opened: OpenStore, tmp_path: Path) -> None:
    """A file that is no database is replaced by an empty one."""
    first = opened()
    first.apply(records(*Writer(0).upsert(A, 1, "text")))
    first.close()
    (tmp_path / "m" / "data.mdb").write_bytes(b"not a database" * 1000)
    again = opened()
    assert text_of(again, A) is None
    again.apply(records(*Writer(0).upsert(A, 1, "text")))
    assert text_of(again, A) == "text"


def closed_with_a_document(store: ManifestStore, *, followed_ms: int | None) -> None:
    """A life that ends, having followed the log up to a moment, or never."""
    store.apply(records(*Writer(0).upsert(A, 1, "text")))
    if followed_ms is not None:
        store.followed(followed_ms)
    store.close()


@pytest.mark.parametrize(("days", "text"), [(0, "text"), (5.9, "text"), (6.1, None), (400, None)])
def test_emptied_when_it_was_away_for_too_long(opened: OpenStore, days: float, text: str | None) -> None:
    """The log keeps the news of what was cleared for a week: a view that missed it starts anew."""
    closed_with_a_document(opened(at_ms=NOW - DAY_MS), followed_ms=NOW)
    assert text_of(opened(at_ms=NOW + round(days * DAY_MS)), A) == text


def test_opening_is_not_following(opened: OpenStore) -> None:
    """Opened on the fifth day, and never told that it caught up: on the eighth it was away for eight days."""
    closed_with_a_document(opened(), followed_ms=NOW)
    opened(at_ms=NOW + 5 * DAY_MS).close()
    assert text_of(opened(at_ms=NOW + 8 * DAY_MS), A) is None


def test_a_new_view_is_away_from_its_beginning(opened: OpenStore) -> None:
    """Killed before it had read all of the log: what it has read misses whatever was cleared since."""
    closed_with_a_document(opened(), followed_ms=None)
    assert text_of(opened(at_ms=NOW + 5 * DAY_MS), A) == "text"
    assert text_of(opened(at_ms=NOW + 7 * DAY_MS), A) is None


def test_nobody_knows_how_long_a_view_of_the_future_was_away(opened: OpenStore) -> None:
    """Its clock was wrong: read again. A clock that is a little off is none."""
    closed_with_a_document(opened(), followed_ms=NOW + 60_000)
    again = opened()
    assert text_of(again, A) == "text"
    again.followed(NOW + DAY_MS)
    again.close()
    assert text_of(opened(), A) is None


def test_an_emptied_view_begins_now(opened: OpenStore) -> None:
    """It has missed nothing, having read nothing."""
    closed_with_a_document(opened(), followed_ms=NOW)
    open_on = opened(at_ms=NOW + 5 * DAY_MS)
    open_on.wipe("test")
    closed_with_a_document(open_on, followed_ms=None)
    assert text_of(opened(at_ms=NOW + 10 * DAY_MS), A) == "text"


def test_views_are_away_for_less_than_the_log_keeps_what_was_cleared() -> None:
    """With time to read on."""
    assert MAX_AWAY_MS + DAY_MS <= DELETE_RETENTION_MS


def test_wiping_leaves_open_snapshots_alone(store: ManifestStore) -> None:
    """A query under way ends on what it began with."""
    store.apply(records(*Writer(0).upsert(A, 1, "text")))
    with store.snapshot() as snapshot:
        store.wipe("test")
        assert snapshot.document(A) is not None
    assert text_of(store, A) is None
    assert store.positions(INDEX) == {} and store.dirty(10) == []


def test_a_bad_batch_changes_nothing(store: ManifestStore) -> None:
    """All of a batch or none of it; what is no record of ours stops the view by name."""
    good = records(*Writer(0).upsert(A, 1, "text"))
    alien = Record(INDEX, 0, 9, 0, b"doc/docs/b", b"not json")
    with pytest.raises(Fatal, match=r"rag\.index\.g1\[0\] at 9"):
        store.apply([*good, alien])
    newer = Record(INDEX, 0, 9, 0, b"doc/docs/b", b'{"schema_version":2}')
    with pytest.raises(Misconfigured, match="schema_version 2"):
        store.apply([*good, newer])
    assert text_of(store, A) is None and store.positions(INDEX) == {}


def test_unknown_kinds_are_passed_over(store: ManifestStore) -> None:
    """Owners and kinds of a later release are not the view's business."""
    store.apply(records((b"owner/0", b"{}"), (b"novelty/0", b"?")))
    assert store.positions(INDEX) == {0: 2}


def test_dirty_tells_one_change_from_the_next(store: ManifestStore) -> None:
    """What changed again while it was committed stays owed."""
    writer = Writer(0)
    store.apply(records(*writer.upsert(A, 1, "one"), *writer.upsert(B, 1, "b")))
    fed = store.dirty(10)
    assert {item.key for item in fed} == {A, B}
    store.apply(records(*writer.upsert(A, 2, "two"), start=4))
    store.settle(fed)
    assert [item.key for item in store.dirty(10)] == [A]
    assert store.mark_all_dirty() == 2
    assert {item.key for item in store.dirty(10)} == {A, B}


def test_long_and_odd_ids(store: ManifestStore) -> None:
    """Ids longer than a database key, with slashes and in any script."""
    keys = [DocKey("docs", "é" * 512), DocKey("docs", "a/b"), DocKey("a", "b")]
    writer = Writer(0)
    store.apply(records(*(pair for key in keys for pair in writer.upsert(key, 1, str(key)))))
    assert [text_of(store, key) for key in keys] == [str(key) for key in keys]


def test_readable_rows_of_a_selective_caller(store: ManifestStore) -> None:
    """Rows of what a caller may read, and nothing else; None where that is too much to list."""
    writer = Writer(0)
    pairs = [pair for n in range(50) for pair in writer.upsert(key_of(f"hr{n}"), 1, "x\ny", ("group:hr",))]
    pairs += writer.upsert(A, 1, "one\ntwo\nthree", ("user:ann",))
    pairs += writer.upsert(DocKey("other", "o"), 1, "one", ("user:ann", "group:hr"))
    store.apply(records(*pairs))
    with store.snapshot() as snapshot:
        rows = snapshot.readable_rows(ANN, NOW, 10)
        assert rows is not None and sorted(rows.values()) == [A, A, A, DocKey("other", "o")]
        only = snapshot.readable_rows(ANN, NOW, 10, ["docs"])
        assert only is not None and set(only.values()) == {A}
        assert snapshot.readable_rows(HR, NOW, 50) is None
        assert snapshot.readable_rows(OPS, NOW, 1000) is None
        assert snapshot.readable_rows(principals_of([]), NOW, 10) == {}
    store.apply(records(*writer.access(A, 2, ("group:hr",)), *writer.delete(DocKey("other", "o"), 2), start=len(pairs)))
    with store.snapshot() as snapshot:
        assert snapshot.readable_rows(ANN, NOW, 10) == {}
    store.apply([floor_record(key_of("hr0"), Floor(delete=DeleteFloor(5, SourcePosition(0, 999))))])
    with store.snapshot() as snapshot:
        rows = snapshot.readable_rows(HR, NOW, 1000)
        assert rows is not None and len(rows) == 49 * 2 + 3


def test_dead_letters_are_remembered(store: ManifestStore) -> None:
    """What became of an event is known for more than the last marker."""
    runs = (OutcomeRun(0, 2, 3, "indexed"), OutcomeRun(3, 4, 2, "dead-lettered"))
    store.apply(records(progress(0, 5, runs=runs), progress(0, 6, runs=(OutcomeRun(5, 5, 1, "indexed"),))))
    with store.snapshot() as snapshot:
        found = [snapshot.is_dead_lettered(SourcePosition(0, offset)) for offset in range(7)]
        assert found == [False, False, False, True, True, False, False]
        assert not snapshot.is_dead_lettered(SourcePosition(1, 3))


def test_a_failed_newer_version_is_said(store: ManifestStore) -> None:
    """The older text is shown, marked, and access of the failed event applies."""
    writer = Writer(0)
    store.apply(records(*writer.upsert(A, 1, "text"), *writer.fail(A, 2, ("group:hr",))))
    with store.snapshot() as snapshot:
        document = snapshot.document(A)
        assert document is not None and document.newest_version_failed
        assert not snapshot.is_readable(document, ANN, NOW)


def test_a_null_forgets_a_document(store: ManifestStore) -> None:
    """A manifest that is taken back leaves nothing behind."""
    [put, _] = Writer(0).upsert(A, 1, "text")
    store.apply(records(put))
    store.apply([Record(INDEX, 0, 1, 0, put[0], None)])
    with store.snapshot() as snapshot:
        assert list(snapshot.keys()) == []


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=deliveries())
def test_any_reading_of_a_log_shows_the_fold(store: ManifestStore, case: tuple[list[Event], list[Delivered]]) -> None:
    """Through the database too: any order of partitions, duplicates, compaction, batch by batch."""
    history, delivered = case
    store.wipe("next example")
    for number, (partition, offset, (key, value)) in enumerate(delivered):
        store.apply([Record(INDEX, partition, offset, 0, key, value)] if number % 2 else [])
        store.apply([Record(INDEX, partition, offset, 0, key, value)])
    with store.snapshot() as snapshot:
        for doc_id in ("a", "b"):
            truth = fold(event.effect for event in history if event.doc_id == doc_id)
            document = snapshot.document(key_of(doc_id))
            assert (document is None) == (truth.content is None)
            if document is not None and truth.content is not None:
                assert digest_of(document.entry.text) == truth.content.digest
                assert document.state == truth


def test_each_worker_claims_a_folder(tmp_path: Path) -> None:
    """Two workers on one data directory have views of their own; the next life finds the first one's again."""
    first, second = ClaimedFolder.first_free(tmp_path), ClaimedFolder.first_free(tmp_path)
    assert first.path != second.path
    first.release()
    assert ClaimedFolder.first_free(tmp_path).path == first.path
    second.release()


def test_a_folder_that_can_t_be_made_is_said_with_its_setting(tmp_path: Path) -> None:
    """Whoever keeps a view there, `inspect` too, names what to change."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="RAG_DATA_DIR"):
        ClaimedFolder.first_free(tmp_path / "file" / "views")


def test_registers_alone_show_nothing(store: ManifestStore) -> None:
    """A register record without a manifest (a stub, or compaction half read) is no document yet."""
    store.apply(records(seen(A, effect_of(version=3, digest="d", allow=PUBLIC), SourcePosition(0, 0))))
    assert text_of(store, A) is None
    with store.snapshot() as snapshot:
        state = snapshot.state(A)
        assert state is not None and state.content_version == 3
