"""Laws of the fused ranking."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from query_api.fusion import fuse, normalised

SCORES = st.dictionaries(st.integers(0, 20), st.floats(-10, 10, allow_nan=False), max_size=12)
WEIGHT = st.floats(0, 1)


@given(SCORES, SCORES, WEIGHT)
def test_holds_every_candidate_once_best_first(vector: dict[int, float], keyword: dict[int, float], weight: float) -> None:
    """The ranking is a permutation of the union, by falling score in [0, 1]."""
    fused = fuse(vector, keyword, weight)
    assert {c.key for c in fused} == set(vector) | set(keyword)
    assert len(fused) == len(set(vector) | set(keyword))
    assert all(a.score >= b.score for a, b in itertools.pairwise(fused))
    assert all(-1e-9 <= c.score <= 1 + 1e-9 for c in fused)


@given(SCORES, SCORES, WEIGHT)
def test_better_in_both_arms_is_not_worse(vector: dict[int, float], keyword: dict[int, float], weight: float) -> None:
    """Monotone: a candidate at least as good in both arms does not rank below with a lower score."""
    fused = fuse(vector, keyword, weight)
    worst = float("-inf")
    for a in fused:
        for b in fused:
            better = (a.vector if a.vector is not None else worst) >= (b.vector if b.vector is not None else worst)
            if better and (a.keyword if a.keyword is not None else worst) >= (b.keyword if b.keyword is not None else worst):
                assert a.score >= b.score - 1e-9


@given(SCORES, WEIGHT)
def test_failed_arm_leaves_the_others_order(scores: dict[int, float], weight: float) -> None:
    """With one arm failed the other ranks alone, whatever its weight."""
    by_score = sorted(scores, key=lambda key: -normalised(scores)[key])
    assert [c.key for c in fuse(scores, None, weight)] == by_score
    assert [c.key for c in fuse(None, scores, weight)] == by_score


def test_ties_keep_the_order_of_arrival() -> None:
    """Equal scores stay in the order in which candidates came."""
    assert [c.key for c in fuse({"b": 1.0, "a": 1.0}, {"c": 3.0, "d": 3.0}, 0.5)] == ["b", "a", "c", "d"]


def test_missing_in_an_arm_counts_as_its_worst() -> None:
    """An arm that did not find a candidate gives it 0."""
    fused = {c.key: c.score for c in fuse({"a": 0.9, "b": 0.1}, {"a": 5.0, "c": 1.0}, 0.5)}
    assert fused == {"a": 1.0, "b": 0.0, "c": 0.0}
