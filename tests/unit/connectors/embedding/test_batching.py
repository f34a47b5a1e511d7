"""Batches by token length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.embedding.batching import PAD_TO, padded_length, plan_batches

counts = st.lists(st.integers(0, 600), max_size=200)


@given(counts, st.integers(1, 80), st.integers(1, 5000))
def test_every_text_is_in_exactly_one_batch(token_counts: list[int], max_batch: int, max_tokens: int) -> None:
    """The plan is a permutation of the positions, cut into batches that aren't empty."""
    plan = plan_batches(token_counts, max_batch, max_tokens)
    assert sorted(position for batch in plan for position in batch) == list(range(len(token_counts)))
    assert all(plan)


@given(counts, st.integers(1, 80), st.integers(1, 5000))
def test_limits_hold(token_counts: list[int], max_batch: int, max_tokens: int) -> None:
    """No batch has too many texts or, with padding, too many tokens; only a text alone may be longer."""
    for batch in plan_batches(token_counts, max_batch, max_tokens):
        assert len(batch) <= max_batch
        padded = padded_length(max(token_counts[position] for position in batch))
        assert len(batch) == 1 or len(batch) * padded <= max_tokens


@given(counts)
def test_longest_come_first(token_counts: list[int]) -> None:
    """Lengths never grow along the plan, so neighbours in a batch are as alike as can be."""
    lengths = [token_counts[position] for batch in plan_batches(token_counts, 8, 1000) for position in batch]
    assert lengths == sorted(lengths, reverse=True)


@given(st.integers(0, 10_000))
def test_padded_lengths_are_few(tokens: int) -> None:
    """A padded length holds the text, is a multiple of the step, and less than a step longer."""
    padded = padded_length(tokens)
    assert padded % PAD_TO == 0
    assert tokens <= padded
    assert padded < max(tokens, 1) + PAD_TO


@pytest.mark.parametrize(("max_batch", "max_tokens"), [(0, 10), (10, 0)])
def test_limits_must_be_positive(max_batch: int, max_tokens: int) -> None:
    """A limit of nothing is a mistake, said with the values."""
    with pytest.raises(ValueError, match=f"not {max_batch} and {max_tokens}"):
        plan_batches([1], max_batch, max_tokens)
