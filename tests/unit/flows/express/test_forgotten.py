"""Keys that were forgotten are never taken for new ones, and new ones rarely for them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flows.express.forgotten import Forgotten


@given(st.sets(st.text(), max_size=30))
def test_nothing_that_was_added_is_denied(keys: set[str]) -> None:
    """Of any text."""
    forgotten = Forgotten()
    for key in keys:
        forgotten.add(key)
    assert all(key in forgotten for key in keys)


def test_few_others_are_taken_for_one_of_them() -> None:
    """Of two hundred thousand added none of ten thousand others, give or take."""
    forgotten = Forgotten()
    assert "docs/0" not in forgotten
    for number in range(200_000):
        forgotten.add(f"docs/{number}")
    assert sum(f"docs/other-{number}" in forgotten for number in range(10_000)) < 10
