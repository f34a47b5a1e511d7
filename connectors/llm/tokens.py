"""How many tokens a text is, guessed high: for fitting a prompt and where an endpoint doesn't count. Pure."""

from __future__ import annotations

import re
from typing import Final

from connectors.llm.port import ChatRequest

_RUN: Final = re.compile(r"[A-Za-z]+|[0-9]|[^\x00-\x7f]+|\n|[^\sA-Za-z0-9]")
LETTERS_PER_TOKEN: Final = 4
UNUSUAL_LENGTH: Final = 16
"""Longer runs of letters are no words of a vocabulary: identifiers, base64."""
TURN_OVERHEAD: Final = 6
"""What a chat template puts around a turn."""


def estimate_tokens(text: str) -> int:
    """Tokens of `text`, more rather than fewer. What isn't ASCII counts by its bytes: vocabularies split what they don't know."""
    return sum(_tokens(match.group()) for match in _RUN.finditer(text))


def estimate_prompt(request: ChatRequest) -> int:
    """Tokens of a request's prompt, more rather than fewer."""
    return sum(estimate_tokens(turn.content) + TURN_OVERHEAD for turn in request.turns)


def _tokens(run: str) -> int:
    if not run.isascii():
        return -(-2 * len(run.encode()) // 3)
    per_token = LETTERS_PER_TOKEN if len(run) <= UNUSUAL_LENGTH else 2
    return -(-len(run) // per_token)
