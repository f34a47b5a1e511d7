"""How much a question is like a remembered one: one figure on the scale of a cosine, from questions and evidence. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from query_api.cache.evidence import Evidence

# Weights of what is added to the cosine, fitted on Banking77's train questions and rounded (benchmarks/answer_cache.py).
ORDER_WEIGHT: Final = 0.1
WORDING_WEIGHT: Final = 0.1


class Signals(NamedTuple):
    """What is known of a pair.

    Attributes:
        similarity: cosine of the questions.
        order: how far the evidence is ranked alike, in [0, 1].
        wording: how far the questions' words agree, in [0, 1].
    """

    similarity: float
    order: float
    wording: float


def likeness(signals: Signals) -> float:
    """At most the cosine, and lower where evidence or wording agree less."""
    return signals.similarity - ORDER_WEIGHT * (1.0 - signals.order) - WORDING_WEIGHT * (1.0 - signals.wording)


def order_agreement(now: Sequence[Evidence], remembered: Sequence[Evidence]) -> float:
    """How far two prompts rank the same passages alike, in [0, 1]: overlap of their beginnings, the first ranks weighing most."""
    if not now or not remembered:
        return 0.0
    total = weighed = 0.0
    for depth in range(1, max(len(now), len(remembered)) + 1):
        mine = {row for one in now[:depth] for row in one.row_ids}
        theirs = {row for one in remembered[:depth] for row in one.row_ids}
        weight = 0.5 ** (depth - 1)
        weighed += weight * len(mine & theirs) / len(mine | theirs)
        total += weight
    return weighed / total
