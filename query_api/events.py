"""The final event of a query: what it knows, as its asker is told it. Pure but for the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from query_api.answer import Draft
from query_api.explanation import explain
from query_api.query import Query
from schemas.acl import OPERATOR
from schemas.errors import RagError
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, AsOf, Citation, Explanation, Outcome
from schemas.wire import to_ms

STATIC_TEXT: Final = "I can't write an answer right now. These passages bear on your question:"
"""What is said where evidence was found and no model could be had; titles with their numbers follow."""

_log = structlog.get_logger(__name__)


def final_event(
    query: Query,
    outcome: Outcome,
    as_of: Callable[[], AsOf],
    *,
    text: str = "",
    citations: tuple[Citation, ...] = (),
    error: str | None = None,
    reason: str | None = None,
) -> AnswerEvent:
    """`as_of` is asked where the query ended before it took one: every answer says how fresh it is, refusals too."""
    return AnswerEvent(
        query_id=query.request.query_id,
        outcome=outcome,
        text=text,
        citations=citations,
        mode=query.mode or "static",
        degraded=tuple(query.degraded),
        as_of=aged(query) if query.as_of is not None else as_of(),
        route=query.route,
        searched_as=query.searched_as,
        usage=query.usage,
        error=error,
        reason=reason,
        explanation=_explanation(query) if query.request.explain else None,
    )


def answered(query: Query, draft: Draft, as_of: Callable[[], AsOf]) -> AnswerEvent:
    if any(citation.newest_version_failed for citation in draft.citations):
        query.degrade("newest_version_failed")
    event = final_event(query, "answered", as_of, text=draft.text, citations=draft.citations)
    return event.model_copy(update={"is_cut": draft.is_cut})


def unknown(query: Query, as_of: Callable[[], AsOf]) -> AnswerEvent:
    return final_event(query, "unknown", as_of, text=UNKNOWN_ANSWER)


def repeated_event(event: AnswerEvent, age_s: float, now_ms: int) -> AnswerEvent:
    """An earlier final event told again `age_s` later: it states its age of now.

    `reflected_until` is by the wall clock of whoever made it, which may be ahead of this one: it can make the answer older only.
    """
    if event.as_of is None or event.as_of.reflected_until is None:
        return event
    lag_ms = max((event.as_of.lag_ms or 0) + round(age_s * 1000), now_ms - to_ms(event.as_of.reflected_until))
    return event.model_copy(update={"as_of": event.as_of.model_copy(update={"lag_ms": lag_ms})})


def static_draft(query: Query) -> Draft:
    """The static message, with the passages found as citations."""
    citations = tuple(passage.citation(number) for number, passage in enumerate(query.evidence, start=1))
    titles = "\n".join(f"[{citation.number}] {citation.title}" for citation in citations)
    return Draft(f"{STATIC_TEXT}\n{titles}", citations)


def failure(query: Query, exc: Exception) -> tuple[str, str]:
    """Reason and error of a failed query; what is not ours is told to the log only."""
    if isinstance(exc, RagError):
        _log.warning("query_failed", query_id=query.request.query_id, error=str(exc))
        return "unavailable", str(exc)
    _log.error("query_crashed", query_id=query.request.query_id, exc_info=exc)
    return "internal_error", "an unexpected error; the log of the query process has it"


def aged(query: Query) -> AsOf | None:
    """`as_of` as of this moment: it was taken before retrieval. None: the query ended before that."""
    if query.as_of is None or query.as_of.lag_ms is None:
        return query.as_of
    elapsed_ms = round((query.deadline.clock() - query.as_of_at) * 1000)
    return query.as_of.model_copy(update={"lag_ms": query.as_of.lag_ms + elapsed_ms})


def _explanation(query: Query) -> Explanation:
    is_operator = OPERATOR in query.principals
    found = explain(
        arms=query.retrieved or (),
        passages=query.chunks,
        generation=query.generation,
        support=query.support.score if query.support else None,
        withheld=dict(query.withheld) if is_operator else None,
        timings_ms=query.timings.in_ms(),
    )
    more = {"cache": query.cache, "routes": dict(query.route_scores), "invented_citations": query.invented_citations}
    return found.model_copy(update=more)
