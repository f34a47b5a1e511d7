"""Thoughts before an answer are left out, whatever pieces they come in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.generation.thoughts import ThoughtFilter


def without_thoughts(*pieces: str) -> str:
    thoughts = ThoughtFilter()
    return "".join([*(thoughts.feed(piece) for piece in pieces), thoughts.finish()])


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("<think>hm, [9]</think>It is.", "It is."),
        ("\n<think>\n\n</think>\n\nIt is.", "\n\nIt is."),
        ("It is <think>not</think>.", "It is <think>not</think>."),
        ("<thin", "<thin"),
        ("<think>never ends", ""),
        ("", ""),
    ],
)
def test_only_thoughts_at_the_head_go(said: str, text: str) -> None:
    """In one piece, and one character at a time."""
    assert without_thoughts(said) == text
    assert without_thoughts(*said) == text


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "think>", "a", " ", "</"]), max_size=12), st.integers(0, 60))
def test_pieces_make_no_difference(marks: list[str], cut: int) -> None:
    """Any split gives the same text."""
    said = "".join(marks)
    assert without_thoughts(said[:cut], said[cut:]) == without_thoughts(said)
