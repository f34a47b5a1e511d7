"""What is cut into requests is all there, in order, and fits."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connectors.batches import packed


@given(st.lists(st.integers(0, 20)), st.integers(1, 30), st.none() | st.integers(1, 5))
def test_batches_hold_everything_in_order_and_as_much_as_fits(sizes: list[int], max_size: int, max_items: int | None) -> None:
    """None is too large but one that is a single item; none could have taken the next item."""
    batches = list(packed(sizes, lambda size: size, max_size, max_items))
    assert [size for batch in batches for size in batch] == sizes
    for batch in batches:
        assert batch
        assert len(batch) == 1 or sum(batch) <= max_size
        assert max_items is None or len(batch) <= max_items
    for batch, following in pairwise(batches):
        assert sum(batch) + following[0] > max_size or len(batch) == max_items
