"""The path of one query, from request to final event, top to bottom. Every step is a plain function over one `Query`.

admit → retrieve (embed, vectors and keywords side by side) → check and assemble on one snapshot → fetch more where too few
passed → weigh the evidence → answer → look again at access and expiry → final event. One deadline for all of it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import structlog

from query_api.answer import Answerer, Asking, Draft, Passage, Support, assess
from query_api.assembly import Reader, assemble, still_stands
from query_api.deadline import Deadline
from query_api.explanation import explain
from query_api.metrics import QueryMetrics, Timings
from query_api.retrieval import Retrieved, Retriever, Search
from query_api.view import IndexView, ViewSnapshot
from schemas.acl import OPERATOR, Principals, principals_of
from schemas.errors import RagError, Rejected
from schemas.index import DocKey
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, AsOf, Citation, Explanation, Mode, Outcome, QueryRequest
from schemas.settings import Settings
from schemas.tokens import WriteToken
from schemas.wire import from_ms

ATTEMPTS: Final = 2
"""Answers made of evidence that was withdrawn meanwhile are made once more."""
WANTED: Final = 10
"""Passages that should pass the checks; a request for more wants as many as it asks for."""
EXACT_ROWS: Final = 2_000
"""A caller who may read at most this many rows gets each of them scored, where candidates don't suffice."""
SHARE_FOR_WRITES: Final = 0.6
"""What waiting for the caller's own writes may take of the deadline."""

_log = structlog.get_logger(__name__)


class Ended(Exception):
    """The query ends here, without an answer made of evidence."""

    def __init__(self, *, outcome: Outcome, reason: str, error: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.error = error


@dataclass(slots=True)
class Query:
    """Everything one query knows, filled step by step."""

    request: QueryRequest
    deadline: Deadline
    principals: Principals
    indexes: tuple[str, ...]
    timings: Timings = field(default_factory=Timings)
    degraded: list[str] = field(default_factory=list)
    mode: Mode | None = None
    as_of: AsOf | None = None
    as_of_at: float = 0.0
    generation: str = ""
    retrieved: Retrieved | None = None
    passages: list[Passage] = field(default_factory=list)
    withheld: Counter[str] = field(default_factory=Counter)
    support: Support | None = None

    def degrade(self, reason: str) -> None:
        if reason not in self.degraded:
            self.degraded.append(reason)


class _Step(NamedTuple):
    """What to ask of the arms: this many candidates, or the best of exactly these rows."""

    limit: int
    rows: Mapping[str, DocKey] | None = None


class AnswerPipeline:
    """Answers requests. Used from one event loop; many queries at a time."""

    def __init__(
        self,
        settings: Settings,
        view: IndexView,
        retriever: Retriever,
        answerer: Answerer,
        metrics: QueryMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._view = view
        self._retriever = retriever
        self._answerer = answerer
        self._metrics = metrics
        self._now_ms = now_ms

    async def answer(self, request: QueryRequest, deadline: Deadline) -> AnswerEvent:
        """The final event. Never raises; returns by `deadline`, give or take milliseconds."""
        query = Query(request, deadline, principals_of(request.principals), request.indexes or tuple(self._settings.indexes))
        began = deadline.clock()
        try:
            async with asyncio.timeout(deadline.remaining_s):
                event = await self._run(query)
        except Ended as end:
            event = self._event(query, end.outcome, error=end.error, reason=end.reason)
        except TimeoutError:
            event = self._event(query, "expired", error="the deadline passed while answering", reason="deadline_passed")
        except Exception as exc:
            reason, error = _failure(query, exc)
            event = self._event(query, "failed", error=error, reason=reason)
        took_s = deadline.clock() - began
        self._metrics.answered(event, took_s, query.timings.seconds)
        self._metrics.note_withheld(query.withheld)
        return event.model_copy(update={"took_ms": round(took_s * 1000, 3), "answered_at": from_ms(self._now_ms())})

    async def _run(self, query: Query) -> AnswerEvent:
        await self._admit(query)
        for _ in range(ATTEMPTS):
            await self._retrieve(query)
            support = self._weigh(query)
            if support.score < self._settings.query.min_support:
                return self._event(query, "unknown", text=UNKNOWN_ANSWER)
            draft, used = await self._draft(query)
            if not draft.text:
                return self._event(query, "unknown", text=UNKNOWN_ANSWER)
            if self._still_stands(query, used):
                return self._answered(query, draft)
        query.degrade("evidence_withdrawn")
        return self._event(query, "unknown", text=UNKNOWN_ANSWER)

    # -- admit

    async def _admit(self, query: Query) -> None:
        """Refuse what can't be answered, before any work; wait for what the caller has written."""
        with query.timings.step("admit"):
            if query.deadline.has_passed:
                raise Ended(
                    outcome="expired", reason="deadline_passed", error="the deadline had passed before work on the query began"
                )
            unknown = sorted(set(query.indexes) - set(self._settings.indexes))
            if unknown:
                known = ", ".join(sorted(self._settings.indexes))
                raise Ended(
                    outcome="rejected", reason="unknown_index", error=f"no such index: {', '.join(unknown)}; there are: {known}"
                )
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

    # -- retrieve, check, fetch more

    async def _retrieve(self, query: Query) -> None:
        """Candidates from both arms, checked on the view, until enough of them pass."""
        query.as_of, query.as_of_at = self._view.as_of(), query.deadline.clock()  # before anything is read: never too fresh
        query.withheld.clear()
        step = _Step(max(self._settings.query.candidates, query.request.passages))
        while True:
            with query.timings.step("retrieve"):
                retrieved = await self._fetch(query, step)
            self._note_arms(query, retrieved)
            following = self._check(query, retrieved, step)
            if following is None:
                return
            step = following

    async def _fetch(self, query: Query, step: _Step) -> Retrieved:
        reader = self._reader(query)
        search = Search(query.request.question, query.indexes, reader.principals, reader.now_ms, step.limit)
        if step.rows is not None:
            return await self._retriever.retrieve_within(search, step.rows, query.deadline)
        return await self._retriever.retrieve(search, query.deadline)

    def _note_arms(self, query: Query, retrieved: Retrieved) -> None:
        query.retrieved = retrieved
        failed = [arm.name for arm in retrieved if arm.error]
        for arm in retrieved:
            if arm.error:
                query.degrade(f"{arm.name}_{arm.error}")
            elif arm.missing_indexes:
                query.degrade(f"{arm.name}_incomplete")
        if len(failed) == len(retrieved):
            raise Ended(
                outcome="failed",
                reason="retrieval_failed",
                error="neither vectors nor keywords could be searched; ask again in a moment",
            )
        query.mode = "hybrid" if not failed else "vector" if failed == ["keyword"] else "keyword"

    def _check(self, query: Query, retrieved: Retrieved, step: _Step) -> _Step | None:
        """Check and assemble on one snapshot, without awaiting; what to fetch next where too few passed."""
        with query.timings.step("assemble"), self._view.snapshot() as snapshot:
            reader = self._reader(query)
            vector, keyword = retrieved.vector.scores(), retrieved.keyword.scores()
            weight = self._settings.query.vector_weight
            query.passages, query.withheld = assemble(snapshot, reader, retrieved.keys(), vector, keyword, weight)
            query.generation = snapshot.generation
            return self._following(snapshot, reader, query, retrieved, step)

    def _following(self, snapshot: ViewSnapshot, reader: Reader, query: Query, retrieved: Retrieved, step: _Step) -> _Step | None:
        wanted = max(WANTED, query.request.passages)
        by_vector = {passage.row_id for passage in query.passages if passage.vector_score is not None}
        by_keyword = [passage for passage in query.passages if passage.keyword_score is not None]
        vector_lacks = not retrieved.vector.error and len(by_vector) < wanted
        is_keyword_whole = len(retrieved.keyword.found) < step.limit
        keyword_lacks = not retrieved.keyword.error and len(by_keyword) < wanted and not is_keyword_whole
        if step.rows is not None or not (vector_lacks or keyword_lacks):
            return None
        rows = snapshot.readable_rows(reader.principals, reader.now_ms, EXACT_ROWS, query.indexes)
        if rows is not None:
            return _Step(step.limit, rows) if keyword_lacks or not rows.keys() <= by_vector else None
        is_vector_whole = len(retrieved.vector.found) < step.limit
        if step.limit >= self._settings.query.max_candidates or not (keyword_lacks or (vector_lacks and not is_vector_whole)):
            return None
        return _Step(min(2 * step.limit, self._settings.query.max_candidates))

    def _reader(self, query: Query) -> Reader:
        """Who reads, now. With a view that may have missed a revocation only documents for everyone are served."""
        lag_s = self._view.access_lag_s()
        if lag_s is None or lag_s > self._settings.query.max_access_lag_s:
            query.degrade("access_lag")
            return Reader(principals_of(()), self._now_ms())
        return Reader(query.principals, self._now_ms())

    # -- weigh, answer, look again

    def _weigh(self, query: Query) -> Support:
        with query.timings.step("weigh"):
            query.support = assess(query.request.question, query.passages)
        return query.support

    async def _draft(self, query: Query) -> tuple[Draft, Sequence[Passage]]:
        used = query.passages[: query.request.passages]
        with query.timings.step("answer"):
            return await self._answerer.answer(Asking(query.request.question, used), query.deadline, _nobody_listens), used

    def _still_stands(self, query: Query, used: Sequence[Passage]) -> bool:
        """Right before the final event, on a fresh snapshot: what went into the answer may be shown still."""
        with query.timings.step("look_again"), self._view.snapshot() as snapshot:
            return still_stands(snapshot, self._reader(query), used)

    # -- final events

    def _answered(self, query: Query, draft: Draft) -> AnswerEvent:
        if any(citation.newest_version_failed for citation in draft.citations):
            query.degrade("newest_version_failed")
        return self._event(query, "answered", text=draft.text, citations=draft.citations)

    def _event(
        self,
        query: Query,
        outcome: Outcome,
        *,
        text: str = "",
        citations: tuple[Citation, ...] = (),
        error: str | None = None,
        reason: str | None = None,
    ) -> AnswerEvent:
        return AnswerEvent(
            query_id=query.request.query_id,
            outcome=outcome,
            text=text,
            citations=citations,
            mode=query.mode,
            degraded=tuple(query.degraded),
            as_of=self._aged(query),
            error=error,
            reason=reason,
            explanation=self._explanation(query) if query.request.explain else None,
        )

    @staticmethod
    def _aged(query: Query) -> AsOf | None:
        """`as_of` as of this moment: it was taken before retrieval."""
        if query.as_of is None or query.as_of.lag_ms is None:
            return query.as_of
        elapsed_ms = round((query.deadline.clock() - query.as_of_at) * 1000)
        return query.as_of.model_copy(update={"lag_ms": query.as_of.lag_ms + elapsed_ms})

    @staticmethod
    def _explanation(query: Query) -> Explanation:
        is_operator = OPERATOR in query.principals
        return explain(
            arms=query.retrieved or (),
            passages=query.passages,
            generation=query.generation,
            support=query.support.score if query.support else None,
            withheld=dict(query.withheld) if is_operator else None,
            timings_ms=query.timings.in_ms(),
        )


def _failure(query: Query, exc: Exception) -> tuple[str, str]:
    """Reason and error of a failed query; what is not ours is told to the log only."""
    if isinstance(exc, RagError):
        _log.warning("query_failed", query_id=query.request.query_id, error=str(exc))
        return "unavailable", str(exc)
    _log.error("query_crashed", query_id=query.request.query_id, exc_info=exc)
    return "internal_error", "an unexpected error; the log of the query process has it"


async def _nobody_listens(_: str) -> None:
    """The final event holds the whole text."""
