"""Places for answers: bounded in all and for each caller, and free again once they are left, whatever the order."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.deadline import Deadline
from query_api.http.problems import ProblemError
from query_api.http.turns import Caller, Turn, Turns

CALLERS: tuple[Caller, ...] = ((), ("user:ann",), ("group:hr", "user:bob"))


async def _never(*_: object) -> None:
    raise AssertionError


def turn_of(turns: Turns, caller: Caller) -> Turn:
    return Turn(turns, caller, "q", _never, Deadline.after(1.0), _never)  # type: ignore[arg-type]


@given(
    st.integers(1, 6),
    st.floats(0.01, 1),
    st.lists(st.tuples(st.sampled_from(CALLERS), st.booleans()), max_size=40),
)
def test_places_are_taken_and_left(limit: int, share: float, steps: list[tuple[Caller, bool]]) -> None:
    """A caller gets a place exactly where there is one in all and one of their own; nobody's last place is lost."""
    turns = Turns(limit, share)
    each = math.ceil(limit * share)
    held: list[Turn] = []
    for caller, is_leaving in steps:
        own = [turn for turn in held if turn.caller == caller]
        if is_leaving and own:
            held.remove(own[0])
            turns.leave(own[0])
            continue
        turn = turn_of(turns, caller)
        expected = "overloaded" if len(held) >= limit else "too_many_of_caller" if len(own) >= each else None
        if expected is None:
            turns.enter(turn)
            held.append(turn)
        else:
            with pytest.raises(ProblemError) as refused:
                turns.enter(turn)
            assert refused.value.code == expected
        assert len(turns) == len(held)
        assert max(Counter(turn.caller for turn in held).values(), default=0) <= each
    assert each >= 1, "everybody can ask something"


def test_nothing_is_kept_of_callers_who_have_left() -> None:
    """A server that many people ask doesn't grow with them."""
    turns = Turns(4, 0.5)
    for number in range(100):
        turn = turn_of(turns, (f"user:{number}",))
        turns.enter(turn)
        turns.leave(turn)
    assert not turns._by_caller
