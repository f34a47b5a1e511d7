"""Which passages go into the prompt: weak ones are cut, the rest fitted to its room. Pure.

Tokens are guessed high, so that what fits here fits any model's own count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from connectors.llm import estimate_tokens
from query_api.answer import Passage

REVISION: Final = 3
"""Counts up when the same passages would be chosen otherwise, or the same text of a model shown otherwise."""
WEAK: Final = 0.4
"""A passage with less than this share of the best one's score is noise that a model would have to tell apart. Scores are fused
from both arms, scaled to [0, 1] over the candidates: a passage that only one arm likes, and moderately, falls below it."""
AROUND_PASSAGE: Final = 40
"""Tokens of what stands around a passage: its fences and number."""
CUT_MARK: Final = " …"


def choose(passages: Sequence[Passage], room: int) -> list[Passage]:
    """Those of `passages` (best first) that go into a prompt with `room` tokens for them, in their order.

    The best one always does (`clipped` fits it); another that doesn't fit makes way for shorter ones.
    """
    chosen: list[Passage] = []
    left = room
    for passage in passages:
        if chosen and _is_weak(passage, chosen[0]):
            continue
        size = cost(passage)
        if size <= left or not chosen:
            chosen.append(passage)
            left -= size
    return chosen


def cost(passage: Passage) -> int:
    """Tokens of a passage in the prompt, at most."""
    return estimate_tokens(passage.text) + estimate_tokens(passage.title) + AROUND_PASSAGE


def clipped(text: str, room: int) -> str:
    """`text`, or its beginning where it takes more than `room` tokens, cut between words."""
    if estimate_tokens(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if estimate_tokens(text[:middle]) <= room - 1:
            low = middle
        else:
            high = middle - 1
    kept = text[:low].rstrip()
    last_space = max(kept.rfind(" "), kept.rfind("\n"))
    is_within_word = len(kept) == low and not text[low].isspace()
    return (kept[:last_space].rstrip() if is_within_word and last_space > 0 else kept) + CUT_MARK


def _is_weak(passage: Passage, best: Passage) -> bool:
    # Scores below 0 are another scale's (a reranker's): shares mean nothing there.
    return best.score > 0 and passage.score < WEAK * best.score
