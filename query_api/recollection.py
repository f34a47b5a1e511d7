"""Where an answer's text comes from: remembered and verified on the view, being made for somebody else, or made for this caller.

The pipeline asks it with the prompt's passages chosen; query_api/cache holds the rules, this is the path through them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from query_api.answer import Answerer, Asking, Draft
from query_api.cache import AnswerCache, Entry, Flights, Lookup, Shadows, Verdict, restated, scope_of, stands
from query_api.cache.evidence import Evidence
from query_api.deadline import Deadline
from query_api.gathering import Gathering, shown_by
from query_api.query import Query
from query_api.speech import Speech
from query_api.view import IndexView
from schemas.acl import OPERATOR
from schemas.queries import UNKNOWN_ANSWER, CacheExplanation, CacheVerdict, Usage
from schemas.settings import Settings


@dataclass(frozen=True, slots=True)
class Memory:
    """The answer cache and what belongs to it. `count` is told every verdict, `count_shared` of every generation joined."""

    cache: AnswerCache
    shadows: Shadows
    count: Callable[[Verdict], None] = lambda _: None
    count_shared: Callable[[], None] = lambda: None


class Recollection:
    """One per event loop: only those asked on the same loop share a generation. The memory is shared by all.

    Args:
        memory: None where answers are not remembered; generations are shared all the same.
    """

    def __init__(
        self, settings: Settings, view: IndexView, gathering: Gathering, answerer: Answerer, memory: Memory | None
    ) -> None:
        self._settings = settings
        self._view = view
        self._gathering = gathering
        self._answerer = answerer
        self._memory = memory
        self._flights = Flights()

    async def answer(self, query: Query, asking: Asking, deadline: Deadline, speech: Speech) -> Draft:
        """The draft. Raises: GenerationFailed; EvidenceWithdrawn, when access went before the first piece."""
        if query.vector is None or query.request.cache == "off" or len(query.request.messages) > 1:
            query.cache = CacheExplanation(verdict=_why_not(query))
            return await self._flights.alone(deadline, lambda emit: self._answerer.answer(asking, deadline, emit), speech.say)
        lookup = Lookup(query.question, query.vector, self._scope(query), query.rests_on)
        remembered = self._remembered(query, asking, lookup)
        if remembered is not None:
            await speech.say(remembered.text)
            return remembered
        flown = await self._flights.fly(lookup, deadline, lambda emit: self._answerer.answer(asking, deadline, emit), speech.say)
        if self._memory is not None and flown.is_shared:
            self._memory.count_shared()
            query.entry_id = lookup.entry_id
        elif self._memory is not None and self._is_worth_keeping(query, flown.draft):
            query.entry_id = self._memory.cache.remember(lookup, flown.draft)
        return _as_own(flown.draft, query) if flown.is_shared else flown.draft

    def _remembered(self, query: Query, asking: Asking, lookup: Lookup) -> Draft | None:
        """Looked up, verified and stated anew on one snapshot, without awaiting."""
        if self._memory is None:
            query.cache = CacheExplanation(verdict="disabled")
            return None
        with query.timings.step("cache"), self._view.snapshot() as snapshot:
            reader = self._gathering.reader(query)

            def holds(evidence: Sequence[Evidence]) -> bool:
                return stands(snapshot, reader.principals, reader.now_ms, evidence, shown_by(query))

            verdict = self._memory.cache.find(lookup, holds)
            citations = restated(snapshot, verdict.entry, query.passages) if verdict.entry is not None else ()
        self._memory.count(verdict)
        query.cache = self._explained(query, verdict)
        if verdict.entry is None:
            return None
        query.mode, query.rests_on, query.entry_id = "cached", verdict.entry.evidence, verdict.entry.id
        self._memory.shadows.consider(verdict, lambda: self._afresh(asking))
        return Draft(verdict.entry.text, citations, Usage(model=verdict.entry.usage.model))

    async def _afresh(self, asking: Asking) -> Draft:
        return await self._answerer.answer(asking, Deadline.after(self._settings.query.deadline_s), _nobody_listens)

    def _scope(self, query: Query) -> str:
        request = query.request
        return scope_of(
            generation=query.generation,
            indexes=query.indexes,
            filters=request.filters,
            fingerprint=self._answerer.fingerprint,
            passages=request.passages,
            max_tokens=request.max_tokens,
            temperature=request.temperature,
        )

    @staticmethod
    def _is_worth_keeping(query: Query, draft: Draft) -> bool:
        is_whole = bool(draft.text) and not draft.is_cut and draft.text.strip() != UNKNOWN_ANSWER
        return is_whole and not draft.degraded and not query.degraded

    def _explained(self, query: Query, verdict: Verdict) -> CacheExplanation:
        """Others' questions are theirs: what was near is told to operators only, to everyone else how near it was."""
        entry: Entry | None = verdict.entry
        detail = ""
        if OPERATOR in query.principals:
            detail = f"{verdict.detail} ({verdict.withheld})" if verdict.withheld else verdict.detail
        return CacheExplanation(
            verdict=verdict.code,
            similarity=_rounded(verdict.similarity),
            threshold=_rounded(verdict.threshold),
            age_s=round(self._memory.cache.age_s(entry), 3) if entry is not None and self._memory is not None else None,
            detail=detail,
        )


def _as_own(draft: Draft, query: Query) -> Draft:
    """Another caller's draft with this one's citations: the text is the same, but versions are of this caller's snapshot, and
    scores must not tell of what the other one may read."""
    own = {(one.doc_key.index, one.doc_key.doc_id, one.start, one.end): one for one in query.evidence}
    places = [(cited.number, (cited.index, cited.doc_id, cited.start, cited.end)) for cited in draft.citations]
    return draft._replace(citations=tuple(own[place].citation(number) for number, place in places))


def _why_not(query: Query) -> CacheVerdict:
    if query.request.cache == "off":
        return "not_asked_for"
    return "conversation" if query.vector is not None else "no_vector"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


async def _nobody_listens(_: str) -> None:
    """A shadow check's text is compared when it is whole."""
