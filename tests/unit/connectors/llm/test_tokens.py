"""Token counts that are guessed high."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.llm import ChatRequest, Turn, estimate_prompt, estimate_tokens


@pytest.mark.parametrize(
    ("text", "at_least", "at_most"),
    [
        ("", 0, 0),
        ("Open Cards and tap Freeze.", 6, 10),
        ("12345", 5, 5),
        ("カードを凍結する", 8, 24),
        ("Überweisungsgebühren", 5, 16),
        ("aGVsbG8gd29ybGQgaGVsbG8gd29ybGQ", 12, 31),
    ],
)
def test_texts_of_all_kinds_count(text: str, at_least: int, at_most: int) -> None:
    """Words, digits, scripts without spaces, identifiers."""
    assert at_least <= estimate_tokens(text) <= at_most


@given(st.text(), st.text())
def test_a_text_counts_no_less_than_its_parts_nearly(a: str, b: str) -> None:
    """Joining can merge one word across the seam, no more."""
    assert estimate_tokens(a + b) >= estimate_tokens(a) + estimate_tokens(b) - 2


def test_a_prompt_counts_its_turns() -> None:
    """And what a chat template adds."""
    one = ChatRequest((Turn("user", "hello"),), 5)
    two = ChatRequest((Turn("system", "hello"), Turn("user", "hello")), 5)
    assert estimate_prompt(two) == 2 * estimate_prompt(one)
