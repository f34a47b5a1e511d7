"""What of a conversation counts, and what is asked in it when no model helps. Pure.

Only what the user and the assistant said counts. A caller's system, developer and tool turns are left out: they would stand
where our own rules stand, and could drop them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from query_api.answer.terms import content_terms, terms
from schemas.queries import MAX_QUESTION_LENGTH, Message

TURNS_MAX: Final = 6
"""Turns before the last one that are looked at."""
TURN_LENGTH_MAX: Final = 1_000
QUESTION_LENGTH_MAX: Final = 500
"""A standalone question longer than this is no question."""
GROUNDED: Final = 0.5
"""Share of a rewritten question's words that the conversation must hold: a model that makes up a subject isn't followed."""

_LABEL: Final = re.compile(r"^(?:standalone |rewritten |the )*question\s*:\s*", re.IGNORECASE)
_QUOTES: Final = "\"'`“”‘’*"


def spoken(messages: Sequence[Message]) -> list[Message]:
    """The last turns of user and assistant that say something, oldest first; the very last one is what is asked now."""
    said = [message for message in messages if message.role in ("user", "assistant") and message.content.strip()]
    return said[-(TURNS_MAX + 1) :]


def beside_previous(turns: Sequence[Message]) -> str | None:
    """The question with the user's turn before it; None where there is none. The question itself is never cut."""
    asked = turns[-1].content.strip()
    earlier = [turn.content.strip() for turn in turns[:-1] if turn.role == "user"]
    if not earlier or earlier[-1] == asked:
        return None
    room = MAX_QUESTION_LENGTH - len(asked) - 1
    previous = earlier[-1][:room].rstrip() if room > 0 else ""
    return f"{previous}\n{asked}" if previous else None


def rewritten(said: str, turns: Sequence[Message]) -> str | None:
    """The standalone question in what a model said; None where it is none, or not about what was talked of."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    question = _LABEL.sub("", lines[0]).strip(_QUOTES).strip() if lines else ""
    if not question or len(question) > QUESTION_LENGTH_MAX:
        return None
    known = {term for turn in turns for term in terms(turn.content)}
    own = content_terms(question)
    return question if own and sum(term in known for term in own) >= GROUNDED * len(own) else None
