"""What the HTTP interface needs of the rest: a pipeline, who asks, where changes and feedback go, how the process is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import CollectorRegistry

from query_api.deadline import Deadline
from query_api.identity import Identity
from query_api.query import Listen, Look
from schemas.documents import DocumentChange
from schemas.feedback import Feedback
from schemas.queries import AnswerEvent, QueryRequest
from schemas.tokens import WriteToken


class Pipeline(Protocol):
    """Answers from one event loop. Neither raises but CancelledError, which ends the query's work; both keep the deadline."""

    async def answer(
        self,
        request: QueryRequest,
        deadline: Deadline,
        listen: Listen | None = None,
        *,
        may_come_again: bool = True,
        look: Look | None = None,
    ) -> AnswerEvent: ...

    async def search(self, request: QueryRequest, deadline: Deadline, look: Look | None = None) -> AnswerEvent: ...


class Identifies(Protocol):
    """Who sends an `Authorization` header. Raises: BadCredentials, KeysUnavailable."""

    async def identify(self, authorization: str | None) -> Identity: ...


class DocumentSink(Protocol):
    """Takes changes into the log. Thread-safe."""

    def publish(self, changes: Sequence[DocumentChange]) -> list[WriteToken]:
        """Publish in order; returns where each lies, once all survive this process. Blocks.

        Raises: Rejected, when one of them can't be taken; Retryable: not acknowledged, sent again they do no harm.
        """
        ...


class FeedbackSink(Protocol):
    """Takes feedback into the log. Thread-safe."""

    def give(self, feedback: Feedback) -> None:
        """Returns once it is acknowledged. Blocks. Raises: Retryable, Rejected."""
        ...


@dataclass(frozen=True, slots=True)
class Ports:
    """See the module. `waiting_for`: part → what it waits for; empty: ready. Called from the event loop, must not block."""

    pipeline: Pipeline
    identity: Identifies
    documents: DocumentSink
    feedback: FeedbackSink
    waiting_for: Callable[[], Mapping[str, str]]
    registry: CollectorRegistry
