"""Stated lag against true lag: what counts as a contradiction, and what never does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from query_api.canary import Flight, judge
from query_api.canary.judging import ROUNDING_S
from schemas.index import DocKey, SourcePosition

A, B = DocKey("docs", "a"), DocKey("docs", "b")


def flight(key: DocKey = A, sent_s: float = 10.0, acknowledged_s: float | None = 10.2) -> Flight:
    """On its way; at offset 0 once acknowledged."""
    source = SourcePosition(0, 0) if acknowledged_s is not None else None
    return Flight(key, 1, "word", sent_s, acknowledged_s, source)


def test_a_canary_that_is_stated_to_be_reflected_and_is_not_visible_is_a_contradiction() -> None:
    """Stated: everything before 11.0 is reflected; acknowledged at 10.2."""
    point = judge([flight()], set(), at_s=12.0, stated_lag_s=1.0)
    assert point.contradictions == (flight(),)
    assert round(point.true_lag_s, 6) == 1.8


def test_a_visible_canary_contradicts_nothing() -> None:
    """It is no part of any lag."""
    point = judge([flight()], {A}, at_s=12.0, stated_lag_s=0.0)
    assert (point.contradictions, point.true_lag_s, point.since_sent_s) == ((), 0.0, 0.0)


def test_a_message_that_may_not_have_been_in_the_log_yet_is_no_contradiction() -> None:
    """Sent before the stated moment (10.1), acknowledged after it: the log's end may have been taken in between."""
    point = judge([flight()], set(), at_s=12.0, stated_lag_s=1.9)
    assert point.contradictions == ()
    assert point.true_lag_s <= 1.9 < point.since_sent_s


def test_what_is_not_acknowledged_is_no_true_lag_yet() -> None:
    """It counts from its sending only."""
    point = judge([flight(acknowledged_s=None)], set(), at_s=12.0, stated_lag_s=0.0)
    assert (point.contradictions, point.true_lag_s, point.since_sent_s) == ((), 0.0, 2.0)


def test_unknown_is_never_a_contradiction() -> None:
    """A view that states nothing promises nothing."""
    assert judge([flight()], set(), at_s=99.0, stated_lag_s=None).contradictions == ()


def test_the_oldest_counts() -> None:
    """Of several on their way."""
    point = judge([flight(A, 10.0, 10.2), flight(B, 11.0, 11.1)], set(), at_s=12.0, stated_lag_s=5.0)
    assert (round(point.true_lag_s, 6), point.since_sent_s) == (1.8, 2.0)


times = st.floats(0, 1000)


@given(sent=st.lists(st.tuples(times, st.none() | st.floats(0, 10), st.booleans()), max_size=8), stated=st.none() | times)
def test_a_point_above_the_line_is_a_contradiction_and_only_that(
    sent: list[tuple[float, float | None, bool]], stated: float | None
) -> None:
    """True lag above stated lag (but for rounding) and contradictions are the same thing."""
    flights = [
        Flight(DocKey("docs", str(n)), 1, "w", at, None if wait is None else at + wait) for n, (at, wait, _) in enumerate(sent)
    ]
    visible = {DocKey("docs", str(n)) for n, (_, _, shown) in enumerate(sent) if shown}
    point = judge(flights, visible, 1010.0, stated)
    is_above = stated is not None and any(
        f.acknowledged_s is not None and f.acknowledged_s <= 1010.0 - stated - ROUNDING_S for f in flights if f.key not in visible
    )
    assert bool(point.contradictions) == is_above
    assert point.since_sent_s >= point.true_lag_s >= 0
