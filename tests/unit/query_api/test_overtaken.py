"""An edit is shown as soon as it is read and found by words with the next commit: in between no question falls into the gap."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.acl import PUBLIC, AllowList
from schemas.errors import Retryable
from schemas.index import DocKey
from tests.unit.query_api.world import World
from tests.waiting import wait_until

QUESTION = "How do I change my card PIN?"
PIN = DocKey("docs", "pin")
FIRST = "You can change your card PIN at any machine."
SECOND = "You can change your card PIN in the app."
WITHIN_S = 10.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Where keywords are committed once an hour, unless somebody hurries it: the first commit of a life comes at once."""
    made = World(tmp_path, keyword_commit_s=3600.0)
    yield made
    made.close()


def first(world: World, allow: AllowList = PUBLIC) -> None:
    """The first version, to be found by words and vectors."""
    world.upsert("pin", 1, FIRST, allow)
    wait_until(lambda: not is_dirty(world), within_s=WITHIN_S, what="the first commit")


def edit(world: World, version: int, text: str, allow: AllowList = PUBLIC, *, has_rows: bool = True) -> None:
    """The next version, up to where the view shows it; words don't find it yet."""
    records = world.writer.upsert(PIN, version, text, allow)
    if has_rows:
        world.write_rows(records, allow)
    world.publish(records, is_awaited=False)
    wait_until(lambda: shown(world) == text, within_s=WITHIN_S, what="the edit to be shown")
    assert is_dirty(world)


def shown(world: World) -> str:
    with world.view.snapshot() as snapshot:
        document = snapshot.document(PIN)
    return document.entry.text if document is not None else ""


def is_dirty(world: World) -> bool:
    with world.view.snapshot() as snapshot:
        return snapshot.is_dirty(PIN)


def test_with_vectors_away_an_edit_is_found_at_once(world: World) -> None:
    """Both versions answer, so there is an answer: of the one that is current."""
    world.vectors.failure = Retryable("away")
    first(world)
    for version in range(2, 6):
        edit(world, version, f"{SECOND} Option {version}.")
        event = world.ask(QUESTION)
        assert (event.outcome, event.mode, event.degraded) == ("answered", "keyword", ("vector_unavailable",))
        assert "in the app" in event.text
        assert [citation.version for citation in event.citations] == [version]


def test_what_vectors_miss_words_find_at_once(world: World) -> None:
    """Vectors work and give rows of the version before only."""
    first(world)
    edit(world, 2, SECOND, has_rows=False)
    event = world.ask(QUESTION)
    assert (event.outcome, event.mode, event.degraded) == ("answered", "hybrid", ())
    assert "in the app" in event.text


def test_another_passage_of_the_document_does_not_stand_in_for_the_edited_one(world: World) -> None:
    """One that words find in both versions tells nothing of what came in place of the other."""
    world.vectors.failure = Retryable("away")
    other = "Cards are sent by mail to change hands safely."
    same = world.writer
    before = same.upsert(PIN, 1, f"{FIRST}\n{other}")
    world.publish(before)
    wait_until(lambda: not is_dirty(world), within_s=WITHIN_S, what="the first commit")
    edit(world, 2, f"{SECOND}\n{other}")
    assert "in the app" in world.ask(QUESTION).text


def test_where_vectors_found_the_edit_nobody_waits(world: World) -> None:
    """The usual read: what is current is in hand, and the commit takes its time."""
    first(world)
    edit(world, 2, SECOND)
    event = world.ask(QUESTION)
    assert event.outcome == "answered" and "in the app" in event.text
    assert is_dirty(world)


def test_what_one_may_not_read_is_not_waited_for(world: World) -> None:
    """Nor does the time that an answer takes tell of it."""
    world.vectors.failure = Retryable("away")
    first(world, ("group:hr",))
    edit(world, 2, SECOND, ("group:hr",))
    assert world.ask(QUESTION).outcome == "unknown"
    assert is_dirty(world)
    assert world.ask(QUESTION, "group:hr").outcome == "answered"


def test_an_edit_that_no_longer_answers_is_unknown(world: World) -> None:
    """The question waits for the commit and finds that there is nothing."""
    world.vectors.failure = Retryable("away")
    first(world)
    edit(world, 2, "Opening hours of the branch.")
    event = world.ask(QUESTION)
    assert (event.outcome, event.degraded) == ("unknown", ("vector_unavailable",))


def test_a_commit_that_does_not_come_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait is short, and the answer says that words were not to be had in time."""
    world.vectors.failure = Retryable("away")
    first(world)
    is_free, commit = threading.Event(), world.keywords.commit

    def stuck() -> None:
        is_free.wait(WITHIN_S)
        commit()

    monkeypatch.setattr(world.keywords, "commit", stuck)
    edit(world, 2, SECOND)
    event = world.ask(QUESTION, deadline_s=1.0)
    assert (event.outcome, event.degraded) == ("unknown", ("vector_unavailable", "keyword_timeout"))
    assert event.took_ms is not None and event.took_ms < 900
    is_free.set()
    assert world.ask(QUESTION).outcome == "answered"
