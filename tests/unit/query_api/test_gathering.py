"""Evidence for callers and filters of every selectivity: whatever the rows say, what the view says is found, nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from query_api.deadline import Deadline
from query_api.gathering import EXACT_ROWS, KEPT
from schemas.acl import OPERATOR, PUBLIC, AllowList
from schemas.index import DocKey
from schemas.queries import AnswerEvent, QueryRequest
from tests.unit.query_api.world import World, run

QUESTION = "How do I change my card PIN?"
DOCUMENTS = 200


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Twenty candidates at first, eighty at most."""
    made = World(tmp_path, candidates=20, max_candidates=80)
    yield made
    made.close()


def fill(
    world: World, allow: Callable[[int], AllowList], rows: Callable[[int], AllowList], **about: Callable[[int], Any]
) -> None:
    """`DOCUMENTS` that all fit the question; the view says `allow`, the rows say `rows`."""
    records = []
    for number in range(DOCUMENTS):
        metadata = {name: value(number) for name, value in about.items()}
        key = DocKey("docs", f"d{number}")
        text = f"You can change your card PIN at machine {number}."
        batch = world.writer.upsert(key, 1, text, allow(number), metadata)
        world.write_rows(batch, rows(number))
        records += batch
    world.publish(records)
    world.log.next[world.settings.kafka.topics.documents, 0] = DOCUMENTS
    world.wait_until_read()


def found(event: AnswerEvent) -> set[int]:
    assert event.explanation is not None
    return {int(candidate.doc_id[1:]) for candidate in event.explanation.candidates}


@pytest.mark.parametrize("every", [1, 2, 10, 100])
def test_a_filter_of_any_selectivity_gives_a_full_result(world: World, every: int) -> None:
    """Of what matches, readable by everyone, there are ten or all; nothing else is shown, and nothing is degraded."""
    fill(world, lambda _: PUBLIC, lambda _: PUBLIC, kind=lambda n: "wanted" if n % every == 0 else "other")
    event = world.ask(QUESTION, filters={"kind": "wanted"})
    assert all(number % every == 0 for number in found(event))
    assert len(found(event)) >= min(10, DOCUMENTS // every)
    assert event.degraded == ()


@pytest.mark.parametrize("every", [1, 2, 10, 100])
def test_rows_that_lag_hide_nothing_and_show_nothing(world: World, every: int) -> None:
    """The view was told of grants and revocations, the rows say the opposite of it everywhere: the view is believed."""
    fill(
        world,
        lambda n: ("group:few",) if n % every == 0 else ("group:others",),
        lambda n: ("group:others",) if n % every == 0 else ("group:few",),
    )
    event = world.ask(QUESTION, "group:few")
    assert all(number % every == 0 for number in found(event))
    assert len(found(event)) >= min(10, DOCUMENTS // every)
    assert event.explanation is not None
    by_vector = [candidate for candidate in event.explanation.candidates if candidate.vector_score is not None]
    assert len(by_vector) >= min(10, DOCUMENTS // every)


def test_filter_and_access_together_list_their_overlap(world: World) -> None:
    """Each alone is many, both are two documents, readable and matching: both are found, and each row is scored."""
    fill(
        world,
        lambda n: ("group:few",) if n % 10 == 0 else ("group:others",),
        lambda _: PUBLIC,
        year=lambda n: 2000 + n % 100,
    )
    event = world.ask(QUESTION, "group:few", filters={"year": {"gte": 2050, "lt": 2051}})
    assert found(event) == {50, 150}
    assert world.vectors.exact_searches == 1


def test_a_filter_tells_nothing_of_what_one_may_not_read(world: World) -> None:
    """Operators see how many were filtered out; documents for others are only ever `not_readable`."""
    fill(world, lambda n: PUBLIC if n < 5 else ("group:hr",), lambda _: PUBLIC, kind=lambda n: n % 2)
    everyone = world.ask(QUESTION, filters={"kind": 1})
    assert everyone.explanation is not None
    assert everyone.explanation.withheld is None
    assert found(everyone) == {1, 3}
    operator = world.ask(QUESTION, OPERATOR, filters={"kind": 1})
    assert operator.explanation is not None
    assert set(operator.explanation.withheld or {}) == {"filtered"}


def test_a_filter_that_nothing_matches_is_unknown(world: World) -> None:
    """An empty result, no failure."""
    fill(world, lambda _: PUBLIC, lambda _: PUBLIC, kind=lambda _: "other")
    event = world.ask(QUESTION, filters={"kind": "wanted"})
    assert (event.outcome, event.citations) == ("unknown", ())


def test_where_rows_are_too_many_to_score_each_they_are_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last resort: what rows deny is looked for nowhere else, but what they allow comes in full, checked as ever."""
    monkeypatch.setattr("query_api.gathering.EXACT_ROWS", 10)
    assert EXACT_ROWS > 10
    world = World(tmp_path, candidates=10, max_candidates=20)
    fill(world, *[lambda n: ("group:few",) if n % 10 == 0 else ("group:others",)] * 2)
    event = world.ask(QUESTION, "group:few")
    assert len(found(event)) >= 10
    assert all(number % 10 == 0 for number in found(event))
    world.close()


def test_a_deep_search_orders_the_best_and_drops_the_rest(tmp_path: Path) -> None:
    """A hundred candidates of each arm pass; as many passages as are wanted are made of the best of them."""
    world = World(tmp_path, candidates=100)
    fill(world, lambda _: PUBLIC, lambda _: PUBLIC)
    for wanted in (5, KEPT - 10):
        request = QueryRequest(query_id="q", question=QUESTION, passages=wanted, explain=True, principals=(OPERATOR,))
        event = run(world.pipeline.search(request, Deadline.after(5.0)))
        assert event.explanation is not None
        assert [arm.candidates for arm in event.explanation.arms] == [100, 100]
        assert len(event.citations) == wanted
        scores = [citation.score for citation in event.citations]
        assert scores == sorted(scores, reverse=True)
    world.close()


def test_an_explanation_does_not_tell_how_much_is_hidden_near_a_question(tmp_path: Path) -> None:
    """An arm gives as many candidates as are asked of it: fewer that passed would tell of the others."""
    told = []
    for hidden in (0, 7):
        world = World(tmp_path / str(hidden), candidates=100)
        fill(world, lambda n, hidden=hidden: ("group:hr",) if n < hidden else PUBLIC, lambda _: PUBLIC)  # type: ignore[misc]
        event = world.ask(QUESTION)
        assert event.explanation is not None
        told.append([arm.candidates for arm in event.explanation.arms])
        world.close()
    assert told[0] == told[1]
