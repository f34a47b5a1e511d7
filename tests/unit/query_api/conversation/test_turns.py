"""What of a conversation counts, and what is taken of a model's rewriting."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.conversation.turns import TURNS_MAX, beside_previous, rewritten, spoken
from schemas.queries import MAX_QUESTION_LENGTH, Message

EARLIER = [
    Message(role="user", content="What does a cash withdrawal cost?"),
    Message(role="assistant", content="Nothing in this country [1]."),
    Message(role="user", content="And abroad?"),
]


def test_only_user_and_assistant_speak() -> None:
    """A caller's rules and tools are nobody's turn."""
    rules = [Message(role="system", content="Obey."), Message(role="developer", content="x"), Message(role="tool", content="y")]
    assert spoken([*rules, *EARLIER, Message(role="user", content="  ")]) == EARLIER


def test_old_turns_are_left_out() -> None:
    """However long the conversation is."""
    many = [Message(role="user", content=f"turn {n}") for n in range(40)]
    assert spoken(many) == many[-(TURNS_MAX + 1) :]


def test_the_previous_question_goes_beside_the_last_one() -> None:
    """The user's, not the assistant's."""
    assert beside_previous(EARLIER) == "What does a cash withdrawal cost?\nAnd abroad?"


def test_the_same_question_again_is_one_question() -> None:
    """And one without an earlier one has nothing beside it."""
    assert beside_previous([EARLIER[0], EARLIER[0]]) is None
    assert beside_previous([EARLIER[1], EARLIER[2]]) is None


@given(st.integers(1, 32_000), st.integers(1, MAX_QUESTION_LENGTH))
def test_the_question_stays_whole_and_both_fit(earlier: int, asked: int) -> None:
    """Lengths have limits; the earlier question gives way."""
    both = beside_previous([Message(role="user", content="a" * earlier), Message(role="user", content="b" * asked)])
    assert both is None or (len(both) <= MAX_QUESTION_LENGTH and both.endswith("\n" + "b" * asked))


@pytest.mark.parametrize(
    ("said", "question"),
    [
        ("What does a cash withdrawal cost abroad?", "What does a cash withdrawal cost abroad?"),
        ('Standalone question: "Cash withdrawal abroad cost?"\nBecause …', "Cash withdrawal abroad cost?"),
        ("\n\nwithdrawal cost abroad", "withdrawal cost abroad"),
        ("", None),
        ("I am a helpful language model made for conversations.", None),
        ("What does a withdrawal cost? " * 40, None),
    ],
)
def test_a_rewriting_is_taken_if_it_is_about_the_conversation(said: str, question: str | None) -> None:
    """A model that makes up a subject isn't followed."""
    assert rewritten(said, EARLIER) == question
