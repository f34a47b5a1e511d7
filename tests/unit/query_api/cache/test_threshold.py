"""The threshold rises on proof of too many wrong hits, falls on proof of few, and stays within its range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.cache.threshold import ThresholdGuard, bounds

FLOOR = 0.86


def test_bounds_are_wilsons() -> None:
    """Against published figures: 5 of 100 is 2.2 % to 11.2 %."""
    found = bounds(5, 100)
    assert (round(found.low, 3), round(found.high, 3)) == (0.022, 0.112)
    assert bounds(0, 0) == (0.0, 0.0, 1.0)


def test_one_unlucky_comparison_does_not_raise_it_for_long() -> None:
    """Many right ones after a wrong one leave it, or bring it back, at the floor."""
    guard = ThresholdGuard(FLOOR, 0.02)
    for number in range(2_000):
        guard.compared(0.95, is_right=number != 10)
    assert guard.threshold == FLOOR


def test_it_rises_above_where_the_wrong_hits_are() -> None:
    """Wrong ones near the floor, right ones above: it stops between them."""
    guard = ThresholdGuard(FLOOR, 0.02)
    for number in range(400):
        guard.compared(0.95, is_right=True)
        guard.compared(0.88, is_right=number % 3 != 0)
    assert 0.88 < guard.threshold <= 0.95
    assert guard.error().share == 0.0


def test_it_comes_back_slowly_and_only_on_evidence() -> None:
    """Each step down takes hundreds of right ones of its own."""
    guard = ThresholdGuard(FLOOR, 0.02)
    for _ in range(60):
        guard.compared(0.87, is_right=False)
    high = guard.threshold
    assert high > FLOOR
    steps = [guard.compared(0.999, is_right=True) for _ in range(100)]
    assert min(steps) == high
    for _ in range(40_000):
        guard.compared(0.999, is_right=True)
    assert guard.threshold == FLOOR


@given(st.lists(st.tuples(st.floats(0.5, 1.0), st.booleans()), max_size=300))
def test_it_stays_between_floor_and_one(history: list[tuple[float, bool]]) -> None:
    """Whatever was compared; and without a wrong one it never rises."""
    guard = ThresholdGuard(FLOOR, 0.02)
    for likeness, is_right in history:
        assert FLOOR <= guard.compared(likeness, is_right=is_right) <= 1.0
    if all(is_right for _, is_right in history):
        assert guard.threshold == FLOOR


@pytest.mark.parametrize("error", [0.2, 0.1])
def test_a_cache_that_errs_too_often_is_held_back(error: float) -> None:
    """However the wrong hits lie: in the end the threshold is higher."""
    guard = ThresholdGuard(FLOOR, 0.02)
    for number in range(1_000):
        guard.compared(0.9, is_right=number % round(1 / error) != 0)
    assert guard.threshold > 0.9
