"""What goes into a prompt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from connectors.llm import estimate_tokens
from query_api.generation.budget import choose, clipped, cost
from tests.unit.query_api.generation.passages import passage

scored = st.lists(st.tuples(st.floats(0, 1), st.integers(1, 400)), max_size=12)


def test_weak_passages_are_cut() -> None:
    """Relative to the best one."""
    found = [passage("best", score=0.9), passage("good", score=0.5), passage("weak", score=0.2)]
    assert choose(found, 3_000) == found[:2]


def test_scores_of_another_scale_cut_nothing() -> None:
    """Below 0 a share means nothing."""
    found = [passage("a", score=-0.1), passage("b", score=-4.0)]
    assert choose(found, 3_000) == found


def test_a_long_passage_makes_way_for_shorter_ones() -> None:
    """What fits is used."""
    found = [passage("a " * 50), passage("b " * 5_000), passage("c " * 50)]
    assert choose(found, 300) == [found[0], found[2]]


def test_the_best_passage_is_there_however_small_the_room() -> None:
    """An answer needs one."""
    assert choose([passage("word " * 900)], 10) == [passage("word " * 900)]


@given(scored, st.integers(1, 2_000))
def test_the_room_is_kept_and_the_order_too(found: list[tuple[float, int]], room: int) -> None:
    """A law for any passages: best first, in their order, none twice, and all but a single one within the room."""
    passages = [passage("word " * words, score=score, doc=str(n)) for n, (score, words) in enumerate(sorted(found, reverse=True))]
    chosen = choose(passages, room)
    assert [p for p in passages if p in chosen] == chosen
    assert bool(chosen) == bool(passages)
    assert chosen == chosen[:1] or sum(map(cost, chosen)) <= room
    assert choose(chosen, room) == chosen


@given(st.text(max_size=300), st.integers(3, 60))
def test_a_clipped_text_fits_and_is_a_beginning(text: str, room: int) -> None:
    """Cut between words, where there are any."""
    short = clipped(text, room)
    assert estimate_tokens(short) <= room + 1
    assert short == text or text.startswith(short.removesuffix(" …"))
