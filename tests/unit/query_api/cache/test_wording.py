"""Two questions are the same only if their wording agrees: contrast pairs of our own, and true paraphrases."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.cache.wording import conflict_between

HERE = Path(__file__).parent
LEAST_PARAPHRASES = 0.9


def pairs(name: str) -> list[tuple[str, str]]:
    lines = (HERE / name).read_text(encoding="utf-8").strip().splitlines()
    return [(a.strip(), b.strip()) for a, b in (line.split(" | ") for line in lines)]


CONTRASTS = pairs("contrasts.txt")
PARAPHRASES = pairs("paraphrases.txt")


def test_there_are_enough_pairs() -> None:
    """Two hundred that differ and a hundred that don't, none twice."""
    assert len(set(CONTRASTS)) == len(CONTRASTS) >= 200
    assert len(set(PARAPHRASES)) == len(PARAPHRASES) >= 100


@pytest.mark.parametrize("pair", CONTRASTS, ids=lambda pair: f"{pair[0]} / {pair[1]}")
def test_a_contrast_is_seen_both_ways(pair: tuple[str, str]) -> None:
    """However alike the vectors and the evidence are, such a pair never shares an answer."""
    a, b = pair
    assert conflict_between(a, b)
    assert conflict_between(b, a)


def test_most_paraphrases_agree() -> None:
    """The share that this rule lets through is at least what docs/answer-cache.md says."""
    agreeing = [pair for pair in PARAPHRASES if not conflict_between(*pair)]
    refused = [(*pair, conflict_between(*pair)) for pair in PARAPHRASES if conflict_between(*pair)]
    assert len(agreeing) / len(PARAPHRASES) >= LEAST_PARAPHRASES, refused


@given(st.text(max_size=80), st.text(max_size=80))
def test_it_is_symmetric_for_any_text(a: str, b: str) -> None:
    """Who asked first makes no difference, and no text is too odd."""
    assert bool(conflict_between(a, b)) == bool(conflict_between(b, a))


@given(st.text(max_size=80))
def test_a_question_agrees_with_itself(text: str) -> None:
    """And with itself in another spacing."""
    assert not conflict_between(text, text)
