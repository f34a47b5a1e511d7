"""The turn that carries records from the log into the view: its pace under steady writes, and what a settled one promises."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from connectors.kafka import Record
from connectors.keyword.memory import MemoryKeywordIndex
from query_api.view.feeding import FEED_AT_ONCE, KeywordFeed
from query_api.view.follower import Follower, Topics
from query_api.view.store import ManifestStore, ViewIdentity
from schemas.index import SourcePosition
from schemas.join import effect_of
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.unit.query_api.view.writing import KeyValue, Writer, key_of, manifest

TOPICS = Topics("rag.documents", "rag.index.g1", "rag.floors")
TURNS = 200


def follower_of(folder: Path, log: MemoryLog, commit_s: float) -> Follower:
    """One that has just begun to follow."""
    return Follower(
        folder,
        log,
        TOPICS,
        "g1",
        missing={},
        open_keyword=lambda _folder, _stamp: MemoryKeywordIndex(),
        commit_s=commit_s,
        now_ms=lambda: time.time_ns() // 1_000_000,
        up_ms=lambda: time.monotonic_ns() // 1_000_000,
    )


@pytest.mark.parametrize(("is_hurried", "commit_s", "least"), [(True, 3600.0, TURNS // 20), (False, 1e-9, TURNS)])
def test_turns_that_feed_settle_like_idle_ones(tmp_path: Path, is_hurried: bool, commit_s: float, least: int) -> None:
    """A document a turn, whether somebody waits or a commit is due: when one settles, all that was applied is to be found."""
    log, writer, settled = MemoryLog({TOPICS.documents: 1, TOPICS.index_log: 1, TOPICS.floors: 1}), Writer(0), 0
    with closing(follower_of(tmp_path, log, commit_s)) as follower:
        for number in range(TURNS):
            for key, value in writer.upsert(key_of(f"d{number}"), 1, f"number{number}"):
                log.append(TOPICS.index_log, 0, key, value)
            if not follower.turn(is_caught_up=True, is_hurried=is_hurried).is_settled:
                continue
            settled += 1
            with follower.store.snapshot() as snapshot:
                assert snapshot.progress() == {0: number + 1}
            assert [hit.key for hit in follower.keyword.search(f"number{number}", 2)] == [key_of(f"d{number}")]
    assert settled >= least


def test_a_turn_that_left_something_uncommitted_is_not_settled(tmp_path: Path) -> None:
    """What is applied and not yet to be found is not reflected: nobody hurries, and the last commit was just now."""
    log, writer = MemoryLog({TOPICS.documents: 1, TOPICS.index_log: 1, TOPICS.floors: 1}), Writer(0)
    with closing(follower_of(tmp_path, log, 3600.0)) as follower:
        settled = []
        for number in range(3):
            for key, value in writer.upsert(key_of(f"d{number}"), 1, f"number{number}"):
                log.append(TOPICS.index_log, 0, key, value)
            settled.append(follower.turn(is_caught_up=True, is_hurried=False).is_settled)
        assert settled == [True, False, False], "the first commit of a life is due at once"
        assert follower.keyword.search("number2", 2) == []


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ManifestStore]:
    """An empty one."""
    identity = ViewIdentity("g1", "log-1", "floors-1")
    opened = ManifestStore(tmp_path / "m", identity, index_topic=TOPICS.index_log, floors_topic=TOPICS.floors, missing={}).open()
    yield opened
    opened.close()


def a_manifest(number: int) -> KeyValue:
    """Of a document of its own."""
    source = SourcePosition(0, number)
    return manifest(key_of(f"d{number}"), effect_of(version=1, digest=str(number)), f"number{number}", source)


def test_commits_keep_their_pace_under_steady_writes(store: ManifestStore) -> None:
    """A document every 20 ms for four seconds, a commit every tenth of a second: forty of them."""
    now_s, commits = 0.0, 0
    feed = KeywordFeed(store, MemoryKeywordIndex(), 0.1, lambda: now_s)
    for number in range(TURNS):
        store.apply([Record(TOPICS.index_log, 0, number, 0, *a_manifest(number))])
        has_more = feed.feed()
        if feed.is_due(is_caught_up=not has_more, is_hurried=False):
            feed.commit()
            commits += 1
        now_s += 0.02
    assert 30 <= commits <= 50


class SlowIndex(MemoryKeywordIndex):
    """A commit takes a twentieth of a second of the test's own clock."""

    now_s = 100.0

    def commit(self) -> None:
        super().commit()
        self.now_s += 0.05


def test_who_waits_gets_a_commit_at_once_and_half_of_the_time_at_most(store: ManifestStore) -> None:
    """Under steady writes somebody always waits: what is left of the core is for answers."""
    index = SlowIndex()
    feed, commits = KeywordFeed(store, index, 3600.0, lambda: index.now_s), []
    for number in range(TURNS):
        store.apply([Record(TOPICS.index_log, 0, number, 0, *a_manifest(number))])
        feed.feed()
        if feed.is_due(is_caught_up=True, is_hurried=True):
            feed.commit()
            commits.append(number)
        index.now_s += 0.02
    assert commits[0] == 0
    assert {later - earlier for earlier, later in pairwise(commits)} == {3}, "after 50 ms, in turns of 20 ms"


def test_more_than_is_fed_at_once_is_more(store: ManifestStore) -> None:
    """A first load comes in pieces: while another one waits the view is not to commit for those who wait, nor is it settled."""
    count = 2 * FEED_AT_ONCE + 1
    store.apply([Record(TOPICS.index_log, 0, number, 0, *a_manifest(number)) for number in range(count)])
    index = MemoryKeywordIndex()
    feed = KeywordFeed(store, index, 3600.0)
    assert [feed.feed() for _ in range(4)] == [True, True, False, False]
    feed.commit()
    assert store.dirty(1) == []
    assert len(index.search("number0 number1000 number2000", 9)) == 3
