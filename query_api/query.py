"""What one query knows, filled step by step, and the two ways it may end early. No logic of the steps themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from connectors.embedding.port import Vector
from query_api.answer import Passage, Support
from query_api.cache.evidence import Evidence, evidence_of_all
from query_api.deadline import Deadline
from query_api.explanation import CANDIDATES_SHOWN
from query_api.metrics import Timings
from query_api.retrieval import Retrieved
from schemas.acl import Principals
from schemas.queries import (
    AnswerEvent,
    AsOf,
    CacheExplanation,
    Degradation,
    Mode,
    Outcome,
    QueryRequest,
    Route,
    SearchedAs,
    Usage,
)

Listen = Callable[[AnswerEvent], Awaitable[None]]
"""Gets the deltas of an answer while it is made, in order; one of a higher attempt voids those of earlier ones."""


class Look:
    """Comes with a request from whoever sends its final event bit by bit, as its reader takes it.

    Attributes:
        stands: whether what the final event tells of may be shown still. Costs a fraction of a millisecond.
    """

    __slots__ = ("stands",)

    def __init__(self) -> None:
        self.stands: Callable[[], bool] = lambda: True


class Ended(Exception):
    """The query ends here, without an answer made of evidence."""

    def __init__(self, *, outcome: Outcome, reason: str, error: str) -> None:
        super().__init__(reason)
        self.outcome: Outcome = outcome
        self.reason = reason
        self.error = error


class EvidenceWithdrawn(Exception):
    """What the answer rests on changed, expired or may no longer be read by this caller."""


@dataclass(slots=True)
class Query:
    """Everything one query knows.

    Attributes:
        question: what is searched and answered; of a conversation, made to stand alone.
        indexes: where to look, once it is routed.
        passages: what passed every check, best first, neighbours joined. chunks: the single chunks they were made of. passed: how
            many candidates of each arm did.
        as_of_at: when `as_of` was taken, on the deadline's clock.
        reading: of which reading of the log `as_of` and the evidence are.
        evidence: the passages of the prompt. rests_on: what must stand for the answer to be shown; of a remembered answer, that
            of its own prompt.
        entry_id: of the remembered answer that was used or made.
    """

    request: QueryRequest
    deadline: Deadline
    principals: Principals
    question: str
    indexes: tuple[str, ...] = ()
    timings: Timings = field(default_factory=Timings)
    degraded: list[Degradation] = field(default_factory=list)
    mode: Mode | None = None
    as_of: AsOf | None = None
    as_of_at: float = 0.0
    reading: int | None = None
    generation: str = ""
    vector: Vector | None = None
    route: Route | None = None
    route_scores: Mapping[str, float] = field(default_factory=dict)
    searched_as: SearchedAs | None = None
    retrieved: Retrieved | None = None
    passages: list[Passage] = field(default_factory=list)
    chunks: list[Passage] = field(default_factory=list)
    passed: Mapping[str, int] = field(default_factory=dict)
    withheld: Counter[str] = field(default_factory=Counter)
    support: Support | None = None
    cache: CacheExplanation | None = None
    usage: Usage | None = None
    invented_citations: int = 0
    entry_id: str | None = None
    evidence: tuple[Passage, ...] = ()
    rests_on: tuple[Evidence, ...] = ()

    @property
    def tells_of(self) -> tuple[Evidence, ...]:
        """What must stand for the final event to be shown: what the answer rests on, and the candidates that it explains."""
        if not self.request.explain:
            return self.rests_on
        return (*self.rests_on, *evidence_of_all(self.chunks[:CANDIDATES_SHOWN]))

    def forget(self) -> None:
        """Nothing that was found is told of: it was not looked at again."""
        self.passages, self.chunks, self.passed, self.rests_on = [], [], {}, ()

    def withdraw(self) -> None:
        """What was found went while it was worked on, each time."""
        self.forget()
        self.degrade("evidence_withdrawn")

    def degrade(self, reason: Degradation) -> None:
        if reason not in self.degraded:
            self.degraded.append(reason)
