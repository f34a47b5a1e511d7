"""A query's deadline: a request only shortens what settings allow, and whoever is too late is told whose deadline it was."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from query_api.deadline import ALLOWED, OWN, Deadline

SECONDS = st.floats(min_value=-10, max_value=10_000)


@given(allowed_s=st.floats(min_value=0.001, max_value=10_000), own_s=st.none() | SECONDS, began=SECONDS)
def test_the_sooner_of_both_holds_and_is_named(allowed_s: float, own_s: float | None, began: float) -> None:
    """Never later than settings allow, never later than asked for; the remedy is that of the one that counted."""
    deadline = Deadline.of_request(began, allowed_s, own_s, lambda: began)
    assert deadline.at == min(began + allowed_s, began + (allowed_s if own_s is None else own_s))
    is_own = own_s is not None and own_s < allowed_s
    assert deadline.missed("late") == "late; " + (OWN if is_own else ALLOWED.format(allowed_s))


def test_where_nobody_is_known_nothing_is_added() -> None:
    """A deadline made of another one's rest is nobody's."""
    assert Deadline.after(1.0).missed("late") == "late"
