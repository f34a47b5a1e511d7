"""The path of one query, from request to final event, top to bottom. Every step is a plain function over one `Query`.

admit → condense a conversation → route → gather evidence (both arms, checked on one snapshot) → weigh it → choose the prompt's
passages → answer: remembered, or made and streamed → look again at access and expiry → final event. One deadline for all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

import structlog

from connectors.embedding.port import Vector
from query_api.answer import Answerer, Asking, Draft, GenerationFailed, assess
from query_api.cache import evidence_of_all
from query_api.deadline import Deadline
from query_api.events import aged, answered, failure, final_event, repeated_event, static_draft, unknown
from query_api.gathering import Gathering
from query_api.metrics import QueryMetrics
from query_api.query import Ended, EvidenceWithdrawn, Listen, Look, Query
from query_api.recollection import Memory, Recollection
from query_api.repeats import Repeated, Repeats
from query_api.retrieval import Retriever
from query_api.speech import Speech
from query_api.view import IndexView
from schemas.acl import principals_of
from schemas.errors import Rejected
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, AsOf, Degradation, Message, QueryRequest, Route, SearchedAs
from schemas.settings import Settings
from schemas.tokens import WriteToken
from schemas.wire import from_ms

ATTEMPTS: Final = 2
"""Answers made of evidence that was withdrawn meanwhile are made once more."""
SHARE_FOR_WRITES: Final = 0.6
"""What waiting for the caller's own writes may take of the deadline."""
STATIC_RESERVE_S: Final = 0.2
STATIC_SHARE: Final = 0.2
"""Left of the deadline when a model is given up, for saying so: so many seconds, but no more than this share."""
EXPIRED_BEFORE: Final = "the deadline had passed before work on the query began"
EXPIRED_WHILE: Final = "the deadline passed while answering"

_log = structlog.get_logger(__name__)


class Decision(Protocol):
    """Where a question goes. `reply`: what is said in place of looking anything up; None: `route.indexes` are searched."""

    @property
    def route(self) -> Route: ...
    @property
    def reply(self) -> str | None: ...
    @property
    def scores(self) -> dict[str, float]: ...


class Routes(Protocol):
    """Decides where a question goes. Pure and fast."""

    def decide(self, question: str, vector: Vector | None, requested: tuple[str, ...]) -> Decision: ...


class Conversations(Protocol):
    """Makes the last turn of a conversation stand alone. Keeps its deadline; never raises but CancelledError."""

    async def condense(self, messages: tuple[Message, ...], deadline: Deadline) -> tuple[str, SearchedAs | None]: ...


class Notes(Protocol):
    """Remembers who asked what, so that feedback counts from them alone. Never blocks, never raises."""

    def note(self, query_id: str, principals: tuple[str, ...], entry_id: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class PipelineParts:
    """What a pipeline is made of. Without routes everything is searched; without conversations the last turn stands alone."""

    view: IndexView
    retriever: Retriever
    answerer: Answerer
    memory: Memory | None = None
    repeats: Repeats | None = None
    asked: Notes | None = None
    routes: Routes | None = None
    conversations: Conversations | None = None
    is_memory_away: Callable[[], bool] = lambda: False
    """Whether what workers share of earlier queries can't be had: repeats, feedback, each other's answers."""


class AnswerPipeline:
    """Answers requests. Used from one event loop; many queries at a time."""

    def __init__(
        self,
        settings: Settings,
        parts: PipelineParts,
        metrics: QueryMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._view = parts.view
        self._gathering = Gathering(settings, parts.view, parts.retriever, now_ms)
        self._recollection = Recollection(settings, parts.view, self._gathering, parts.answerer, parts.memory)
        self._metrics = metrics
        self._now_ms = now_ms

    async def answer(
        self,
        request: QueryRequest,
        deadline: Deadline,
        listen: Listen | None = None,
        *,
        may_come_again: bool = True,
        look: Look | None = None,
    ) -> AnswerEvent:
        """The final event; `listen` gets the deltas before it. Never raises; returns by `deadline`, give or take milliseconds.

        Cancelled, it stops the model too.

        Args:
            may_come_again: whether the request can be sent a second time, meaning the same: not where its id was made up here.
            look: for whoever sends the final event bit by bit.
        """
        query = self._query(request, deadline, look)
        speech = Speech(request.query_id, listen if request.stream else None, lambda: self._stands(query), deadline.clock)
        repeats = self._parts.repeats if may_come_again else None
        return await self._concluded(query, self._answer(query, speech, repeats), speech)

    async def search(self, request: QueryRequest, deadline: Deadline, look: Look | None = None) -> AnswerEvent:
        """The best passages that this caller may read, as `citations`; no answer is made. Otherwise as `answer`."""
        query = self._query(request, deadline, look)
        return await self._concluded(query, self._search(query), Speech(request.query_id, None, lambda: True, deadline.clock))

    def as_of(self) -> AsOf:
        """How fresh an answer made now would be."""
        return self._view.as_of()

    def _query(self, request: QueryRequest, deadline: Deadline, look: Look | None) -> Query:
        query = Query(request, deadline, principals_of(request.principals), request.asked)
        if look is not None:
            look.stands = lambda: self._stands(query)
        return query

    async def _concluded(self, query: Query, work: Coroutine[Any, Any, AnswerEvent], speech: Speech) -> AnswerEvent:
        """`work`'s event, or the one that says why there is none; counted, timed and numbered."""
        began = query.deadline.clock()
        try:
            async with asyncio.timeout(query.deadline.remaining_s):
                event = await work
        except Ended as end:
            query.forget()
            event = final_event(query, end.outcome, self._view.as_of, error=end.error, reason=end.reason)
        except TimeoutError:
            query.forget()
            error = query.deadline.missed(EXPIRED_WHILE)
            event = final_event(query, "expired", self._view.as_of, error=error, reason="deadline_passed")
        except Exception as exc:
            query.forget()
            reason, error = failure(query, exc)
            event = final_event(query, "failed", self._view.as_of, error=error, reason=reason)
        if self._parts.is_memory_away():  # said last: what is remembered of the answer lacks nothing
            away: Degradation = "memory_away"
            event = event.model_copy(update={"degraded": (*event.degraded, away)})
        took_s = query.deadline.clock() - began
        self._metrics.answered(event, took_s, query.timings.seconds)
        self._metrics.note_withheld(query.withheld)
        if not event.text:
            speech.take_back()  # an error replaces whatever was said
        if self._parts.asked is not None and event.text:
            self._parts.asked.note(query.request.query_id, query.request.principals, query.entry_id)
        # Stated last: keeping the answer took its time.
        place = {"attempt": speech.attempt, "seq": speech.said, "as_of": aged(query) or event.as_of}
        return event.model_copy(update={**place, "took_ms": round(took_s * 1000, 3), "answered_at": from_ms(self._now_ms())})

    async def _answer(self, query: Query, speech: Speech, repeats: Repeats | None) -> AnswerEvent:
        """What this very request was answered before, if that may still be shown; else an answer made now."""
        await self._admit(query)
        if repeats is None:
            return await self._made(query, speech)
        async with repeats.turn(query.request):
            asked_at = query.deadline.clock()
            known = await repeats.recall(query.request)
            repeated = await self._repeated(query, known, asked_at, speech) if known is not None else None
            if repeated is not None:
                return repeated
            event = await self._made(query, speech)
            if event.mode != "static":  # a model that was away may be back
                await repeats.remember(query.request, event, query.tells_of, query.entry_id)
            return event

    async def _repeated(self, query: Query, known: Repeated, asked_at: float, speech: Speech) -> AnswerEvent | None:
        """The earlier final event, as it is to be told now; None where it may not be shown any more: what was said is void."""
        event = repeated_event(known.event, known.age_s, self._now_ms())
        query.rests_on, query.entry_id = known.evidence, known.entry_id
        query.as_of, query.as_of_at = event.as_of, asked_at
        with suppress(EvidenceWithdrawn):
            await speech.say(event.text)
            if self._stands(query):  # whoever reads slowly takes a piece late
                return event
        speech.take_back()
        query.forget()
        query.entry_id, query.as_of = None, None
        return None

    async def _made(self, query: Query, speech: Speech) -> AnswerEvent:
        await self._condense(query)
        reply = await self._route(query)
        if reply is not None:
            query.mode = "no_retrieval"
            await speech.say(reply)
            return final_event(query, "answered", self._view.as_of, text=reply)
        for _ in range(ATTEMPTS):
            await self._gathering.gather(query)
            if not self._is_supported(query):
                return self._unknown(query)
            with suppress(EvidenceWithdrawn):
                draft = await self._draft(query, speech)
                if not draft.text or draft.text.strip() == UNKNOWN_ANSWER:
                    return self._unknown(query)
                if self._stands(query):
                    return answered(query, draft, self._view.as_of)
            speech.take_back()
        self._gathering.require_same_reading(query)
        query.withdraw()
        return unknown(query, self._view.as_of)

    def _unknown(self, query: Query) -> AnswerEvent:
        """It rests on nothing, but an explanation names candidates: a second look, or a model, has taken its time since."""
        if not self._stands(query):
            query.forget()
        return unknown(query, self._view.as_of)

    async def _search(self, query: Query) -> AnswerEvent:
        await self._admit(query)
        await self._condense(query)
        await self._route(query)
        query.indexes = query.indexes or tuple(self._settings.indexes)
        for _ in range(ATTEMPTS):
            await self._gathering.gather(query)
            found = tuple(passage.citation(n) for n, passage in enumerate(query.passages[: query.request.passages], start=1))
            query.rests_on = evidence_of_all(query.passages[: query.request.passages])
            if self._stands(query):  # a second look takes its time
                break
        else:
            self._gathering.require_same_reading(query)
            query.withdraw()
            found = ()
        if any(citation.newest_version_failed for citation in found):
            query.degrade("newest_version_failed")
        return final_event(query, "answered" if found else "unknown", self._view.as_of, citations=found)

    # -- admit

    async def _admit(self, query: Query) -> None:
        """Refuse what can't be answered, before any work; wait for what the caller has written."""
        with query.timings.step("admit"):
            if query.deadline.has_passed:
                raise Ended(outcome="expired", reason="deadline_passed", error=query.deadline.missed(EXPIRED_BEFORE))
            unknown_names = sorted(set(query.request.indexes) - set(self._settings.indexes))
            if unknown_names:
                known = ", ".join(sorted(self._settings.indexes))
                error = f"no such index: {', '.join(unknown_names)}; there are: {known}"
                raise Ended(outcome="rejected", reason="unknown_index", error=error)
            ready = self._view.ready()
            if not ready.is_ready:
                raise Ended(outcome="failed", reason="view_not_ready", error=f"{ready.reason}; ask again in a moment")
            if query.request.after:
                await self._wait_for_writes(query)

    async def _wait_for_writes(self, query: Query) -> None:
        try:
            tokens = [WriteToken.parse(token) for token in query.request.after]
        except Rejected as exc:
            raise Ended(outcome="rejected", reason=exc.reason, error=exc.detail) from exc
        statuses = await self._view.wait_for(tokens, query.principals, query.deadline.remaining_s * SHARE_FOR_WRITES)
        if "other_log" in statuses:
            raise Ended(
                outcome="rejected", reason="token_of_another_log", error="a token in `after` is of another log than this one"
            )
        if "not_yet" in statuses:
            raise Ended(
                outcome="failed", reason="not_yet", error="the changes in `after` are not reflected yet; ask again in a moment"
            )
        if "dead_lettered" in statuses:
            query.degrade("change_dead_lettered")

    # -- what is asked, and where to look

    async def _condense(self, query: Query) -> None:
        messages = query.request.messages
        if len(messages) > 1 and self._parts.conversations is not None:
            with query.timings.step("condense"):
                query.question, query.searched_as = await self._parts.conversations.condense(messages, query.deadline)

    async def _route(self, query: Query) -> str | None:
        """Choose the indexes; what to say at once where nothing is to be looked up."""
        requested, everything = query.request.indexes, tuple(self._settings.indexes)
        with query.timings.step("embed"):
            query.vector = await self._parts.retriever.vector_of(query.question, query.deadline)
        if self._parts.routes is None:
            query.route = Route(name="request" if requested else "all", indexes=requested or everything)
            query.indexes = query.route.indexes
            return None
        with query.timings.step("route"):
            decision = self._parts.routes.decide(query.question, query.vector, requested)
        query.route, query.route_scores, query.indexes = decision.route, decision.scores, decision.route.indexes
        return decision.reply

    # -- weigh, answer, look again

    def _is_supported(self, query: Query) -> bool:
        with query.timings.step("weigh"):
            query.support = assess(query.question, query.chunks, has_meaning=self._settings.embedding.kind != "hashing")
            is_supported = query.support.score >= self._settings.query.min_support
            if is_supported:
                query.evidence = tuple(self._parts.answerer.select(query.question, query.passages[: query.request.passages]))
                query.rests_on = evidence_of_all(query.evidence)
        return is_supported and bool(query.evidence)

    async def _draft(self, query: Query, speech: Speech) -> Draft:
        """The answer's text; where no model can give one, the static message. Raises: EvidenceWithdrawn."""
        request = query.request
        asking = Asking(query.question, query.evidence, request.messages[:-1], request.max_tokens, request.temperature)
        left_s = query.deadline.remaining_s
        until = Deadline.after(left_s - min(STATIC_RESERVE_S, STATIC_SHARE * left_s), query.deadline.clock)
        try:
            with query.timings.step("answer"):
                async with asyncio.timeout(until.remaining_s):
                    draft = await self._recollection.answer(query, asking, until, speech)
        except TimeoutError:
            problem: Degradation = "model_timeout"
        except GenerationFailed as exc:
            problem = exc.reason
            _log.warning("generation_failed", query_id=request.query_id, reason=exc.reason, error=str(exc))
        else:
            for reason in draft.degraded:
                query.degrade(reason)
            query.usage, query.invented_citations = draft.usage, draft.invented_citations
            return draft
        speech.take_back()
        query.degrade(problem)
        query.mode = "static"
        return static_draft(query)

    def _stands(self, query: Query) -> bool:
        """Right before the first byte and the final event: what went into the answer may be shown still."""
        return self._gathering.stands(query, query.tells_of)
