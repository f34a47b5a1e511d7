"""Whether the evidence supports an answer at all: a small, readable rule over signals that hold on any corpus. Pure.

A document answers a question when both arms rank it high, it is near in meaning, and it holds the question's words. Any of the
three alone is misled, so they are multiplied: that is a document's worth. What tells is not how much the best document is worth
but how far it stands out: everything on the subject is somewhat near, what answers is nearer than the rest. Beside that only
the similarity counts, up to where it says that the question is of this corpus at all.

The constants were fitted on SciFact claims with their gold abstracts present and removed and on a bank's help centre with
customers' questions, then rounded; which signals it takes was chosen on both, so expect less elsewhere.
`benchmarks/support.py` measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from query_api.answer.port import Passage
from query_api.answer.terms import Bearing, content_terms, rarity
from schemas.index import DocKey

SIMILARITY_WEIGHT: Final = 10.0
STANDOUT_WEIGHT: Final = 7.0
BIAS: Final = -6.0

SIMILAR_ENOUGH: Final = 0.45
"""A cosine that no question from elsewhere reaches. What lies above tells of the wording, not of the answer."""
OTHERS: Final = 20
"""Documents behind the best one that it must stand out from."""
OTHERS_LEAST: Final = 5
TYPICAL_OTHER: Final = 0.2
"""Worth of a document that does not answer, assumed where a corpus (or what a caller may read of it) holds too few to tell."""

KINDRED_LETTERS: Final = 5
KINDRED: Final = 0.7
"""What a word counts that only begins like one of the document's: `inductive` and `inducible`."""

# Without vectors only words are left to go by: half of the question's weighty words, or it is no evidence.
KEYWORD_COVERAGE_WEIGHT: Final = 5.0
KEYWORD_BIAS: Final = -2.2


class Support(NamedTuple):
    """How far the evidence supports an answer: `score` in [0, 1], and the signals it was made of.

    Attributes:
        similarity: the best passage's cosine to the question; None without the vector arm.
        coverage: the share of the question's words, weighted by rarity, in the best document's passages.
        standout: how far the best document's worth lies above that of the others.
    """

    score: float
    similarity: float | None
    coverage: float
    standout: float


NO_SUPPORT: Final = Support(0.0, None, 0.0, 0.0)


class _Evidence(NamedTuple):
    """What speaks for one document, over all its passages: joined or not, they give the same."""

    rank: float
    cosine: float
    coverage: float

    @property
    def worth(self) -> float:
        return self.cosine * math.sqrt(self.rank * self.coverage)


def assess(question: str, passages: Sequence[Passage], *, has_meaning: bool = True) -> Support:
    """How far `passages` (all that passed the checks, best first) support an answer to `question`.

    Args:
        has_meaning: whether vectors tell what texts mean. Those of the hashing encoder only tell their words, which are looked at
            anyway; its cosines have another scale.
    """
    if not passages:
        return NO_SUPPORT
    cosines = [passage.vector_score for passage in passages if has_meaning and passage.vector_score is not None]
    documents = _documents(question, passages, min(cosines, default=0.0))
    if not cosines:
        covered = max(document.coverage for document in documents)
        return Support(_logistic(KEYWORD_COVERAGE_WEIGHT * covered + KEYWORD_BIAS), None, covered, 0.0)
    similarity = max(cosines)
    best, *others = sorted(documents, key=lambda document: -document.worth)
    standout = best.worth - _typical([document.worth for document in others])
    total = SIMILARITY_WEIGHT * min(similarity, SIMILAR_ENOUGH) + STANDOUT_WEIGHT * standout + BIAS
    return Support(_logistic(total), similarity, best.coverage, standout)


def _documents(question: str, passages: Sequence[Passage], lowest_cosine: float) -> list[_Evidence]:
    """The best documents, in the order of their best passages. One that the vector arm did not find has its lowest cosine."""
    found: dict[DocKey, list[Passage]] = {}
    for passage in passages:
        found.setdefault(passage.doc_key, []).append(passage)
    asked = content_terms(question)
    bearing = Bearing(asked, KINDRED_LETTERS)
    known = [bearing.of(" ".join((own[0].title, *(passage.text for passage in own)))) for own in found.values()]
    weights = rarity(asked, known)
    return [
        _Evidence(
            rank=max(0.0, own[0].score),
            cosine=max(0.0, *(lowest_cosine if passage.vector_score is None else passage.vector_score for passage in own)),
            coverage=_coverage(weights, words),
        )
        for own, words in list(zip(found.values(), known, strict=True))[: OTHERS + 1]
    ]


def _coverage(weights: Mapping[str, float], words: frozenset[str]) -> float:
    """The share of the weighted terms that is among `words`; one that only begins like one of them counts in part."""
    total = sum(weights.values())
    if not total:
        return 0.0
    beginnings = {word[:KINDRED_LETTERS] for word in words}
    covered = 0.0
    for term, weight in weights.items():
        if term in words:
            covered += weight
        elif len(term) >= KINDRED_LETTERS - 1 and term[:KINDRED_LETTERS] in beginnings:
            covered += KINDRED * weight
    return covered / total


def _typical(worths: Sequence[float]) -> float:
    counted = [*worths[:OTHERS], *[TYPICAL_OTHER] * (OTHERS_LEAST - len(worths))]
    return sum(counted) / len(counted)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))
