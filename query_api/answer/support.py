"""Whether the evidence supports an answer at all: a small, readable rule over signals that hold on any corpus. Pure.

A logistic rule with four inputs and constants that fit in one's head. The constants were fitted on SciFact claims with their
gold abstracts present and removed and on a bank's help centre with customers' questions (half of each), and then rounded;
off-domain questions on both were the other negatives. `benchmarks/support.py` measures them again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from query_api.answer.port import Passage
from query_api.answer.terms import content_terms, coverage, rarity, terms

SIMILARITY_WEIGHT: Final = 4.0
COVERAGE_WEIGHT: Final = 1.6
AGREEMENT_WEIGHT: Final = 0.7
MARGIN_WEIGHT: Final = 5.8
BIAS: Final = -3.9

# Without vectors only words are left to go by: half of the question's weighty words, or it is no evidence.
KEYWORD_COVERAGE_WEIGHT: Final = 5.0
KEYWORD_BIAS: Final = -2.2

COVERING: Final = 3
"""Passages of which the best-covering one counts."""
AGREEING: Final = 5
"""Top documents of each arm that are compared."""
BACKGROUND: Final = 20
"""Passages that tell how rare a word is here."""
TAIL_FROM, TAIL_TO, TAIL_LEAST = 10, 50, 5
"""Ranks of the vector arm that stand for `what anything would score`, and how many of them it takes to know."""
TYPICAL_MARGIN: Final = 0.2
TYPICAL_AGREEMENT: Final = 0.25
"""What is assumed where a signal can't be had: a corpus of a few passages, a failed arm."""


class Support(NamedTuple):
    """How far the evidence supports an answer: `score` in [0, 1], and the signals it was made of.

    Attributes:
        similarity: the best passage's cosine to the question; None without the vector arm.
        coverage: the share of the question's words, weighted by rarity, in the best-covering passage.
        agreement: the share of documents that both arms have on top.
        margin: how far the best cosine stands above what unrelated passages have.
    """

    score: float
    similarity: float | None
    coverage: float
    agreement: float
    margin: float


NO_SUPPORT: Final = Support(0.0, None, 0.0, 0.0, 0.0)


def assess(question: str, passages: Sequence[Passage]) -> Support:
    """How far `passages` (all that passed the checks, best first) support an answer to `question`."""
    if not passages:
        return NO_SUPPORT
    covered = _coverage(question, passages)
    by_vector = _ranked(passages, [passage.vector_score for passage in passages])
    by_keyword = _ranked(passages, [passage.keyword_score for passage in passages])
    if not by_vector:
        return Support(_logistic(KEYWORD_COVERAGE_WEIGHT * covered + KEYWORD_BIAS), None, covered, 0.0, 0.0)
    similarity = by_vector[0][0]
    agreement = _agreement(by_vector, by_keyword)
    margin = _margin([score for score, _ in by_vector])
    total = SIMILARITY_WEIGHT * similarity + COVERAGE_WEIGHT * covered
    total += AGREEMENT_WEIGHT * agreement + MARGIN_WEIGHT * margin + BIAS
    return Support(_logistic(total), similarity, covered, agreement, margin)


def _coverage(question: str, passages: Sequence[Passage]) -> float:
    known = [frozenset(terms(f"{passage.title} {passage.text}")) for passage in passages[:BACKGROUND]]
    weights = rarity(content_terms(question), known)
    return max(coverage(weights, found) for found in known[:COVERING])


def _ranked(passages: Sequence[Passage], scores: Sequence[float | None]) -> list[tuple[float, Passage]]:
    found = [(score, passage) for score, passage in zip(scores, passages, strict=True) if score is not None]
    return sorted(found, key=lambda pair: -pair[0])


def _agreement(by_vector: Sequence[tuple[float, Passage]], by_keyword: Sequence[tuple[float, Passage]]) -> float:
    if not by_keyword:
        return 0.0
    vector_top = {passage.doc_key for _, passage in by_vector[:AGREEING]}
    return len(vector_top & {passage.doc_key for _, passage in by_keyword[:AGREEING]}) / AGREEING


def _margin(cosines: Sequence[float]) -> float:
    tail = cosines[TAIL_FROM:TAIL_TO]
    if len(tail) < TAIL_LEAST:
        return TYPICAL_MARGIN
    return cosines[0] - sum(tail) / len(tail)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
