"""How an answer was found, for those who asked with `explain`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from query_api.answer import Passage
from query_api.retrieval import Arm
from schemas.queries import ArmExplanation, CandidateExplanation, Explanation

CANDIDATES_SHOWN: Final = 20


def explain(
    *,
    arms: Iterable[Arm],
    passages: Sequence[Passage],
    generation: str,
    support: float | None,
    withheld: dict[str, int] | None,
    timings_ms: dict[str, float],
) -> Explanation:
    """Only what this caller may read is in it; `withheld` is None for all but operators.

    How many candidates an arm gave and how long a step took is told to operators only: an arm gives as many as are asked of it,
    so fewer that passed would tell of hidden ones, and where more is hidden more is fetched and checked. Others are told how many
    of the candidates listed here it found. BM25's figures are counted over everybody's
    documents: one that stands alone would tell how many hidden ones hold a word, so others than operators see them as shares of
    the best one.
    """
    is_operator = withheld is not None
    shown = passages[:CANDIDATES_SHOWN]
    best = max((passage.keyword_score or 0.0 for passage in passages), default=0.0)
    unit = 1.0 if is_operator or best <= 0.0 else best
    return Explanation(
        arms=tuple(_arm(arm, shown, is_operator=is_operator) for arm in arms),
        candidates=tuple(_candidate(passage, unit) for passage in shown),
        generation=generation,
        support=round(support, 4) if support is not None else None,
        withheld=withheld,
        timings_ms=timings_ms if is_operator else {},
    )


def _arm(arm: Arm, shown: Sequence[Passage], *, is_operator: bool) -> ArmExplanation:
    scores = [passage.vector_score if arm.name == "vector" else passage.keyword_score for passage in shown]
    return ArmExplanation(
        arm=arm.name,
        candidates=len(arm.found) if is_operator else sum(score is not None for score in scores),
        took_ms=arm.took_ms if is_operator else None,
        error=arm.error,
    )


def _candidate(passage: Passage, unit: float) -> CandidateExplanation:
    keyword = passage.keyword_score
    return CandidateExplanation(
        index=passage.doc_key.index,
        doc_id=passage.doc_key.doc_id,
        version=passage.version,
        chunk=passage.chunk,
        score=round(passage.score, 6),
        vector_score=passage.vector_score,
        keyword_score=None if keyword is None else round(keyword / unit, 6),
    )
