"""What callers send and get over HTTP. None of it says who asks: that comes from credentials alone."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from query_api.identity import Identity
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.feedback import MAX_COMMENT_LENGTH
from schemas.filters import Filters
from schemas.queries import (
    MAX_INDEXES,
    MAX_MESSAGES,
    MAX_OUTPUT_TOKENS,
    MAX_PASSAGES,
    MAX_QUESTION_LENGTH,
    MAX_TOKENS,
    Message,
    QueryId,
    QueryRequest,
)
from schemas.wire import IndexName, Line, Moment, Strict, Text, at_most, describe

MAX_TIMEOUT_MS: Final = 3_600_000
MAX_DOCUMENTS: Final = 100

TimeoutMs = Annotated[int, Field(ge=1, le=MAX_TIMEOUT_MS)]


class SearchRequest(Strict):
    """What to look for, as whoever the credentials say."""

    query_id: QueryId | None = Field(
        None, description="Chosen by the asker; sent again, the same answer comes. Default: made here."
    )
    question: Annotated[Text, Field(max_length=MAX_QUESTION_LENGTH)] = ""
    messages: Annotated[tuple[Message, ...], Field(max_length=MAX_MESSAGES), at_most(MAX_MESSAGES)] = Field(
        (), description="A conversation in place of `question`; its last turn is what the user asks now."
    )
    indexes: Annotated[tuple[IndexName, ...], Field(max_length=MAX_INDEXES), at_most(MAX_INDEXES)] = Field(
        (), description="Where to look. Default: wherever the routes send it, else all."
    )
    filters: Filters = Field(
        default_factory=dict,
        description='By metadata: {"product": "cards", "year": {"gte": 2024}, "lang": {"in": ["en", "de"]}}; all must hold.',
    )
    passages: Annotated[int, Field(ge=1, le=MAX_PASSAGES)] = Field(5, description="Passages, at most.")
    after: Annotated[tuple[Line, ...], Field(max_length=MAX_TOKENS), at_most(MAX_TOKENS)] = Field(
        (), description="Read-your-writes tokens: answer only from a view that has these changes."
    )
    explain: bool = Field(False, description="Add how the answer was found.")
    deadline: Moment | None = Field(None, description="The answer comes by then, or 504.")
    timeout_ms: TimeoutMs | None = Field(None, description="The same, counted from the request's arrival.")

    def query(self, query_id: str, identity: Identity, **more: Any) -> QueryRequest:
        """As the pipeline takes it. Raises: Rejected."""
        fields = {name: getattr(self, name) for name in _SHARED}
        try:
            return QueryRequest(query_id=query_id, principals=identity.principals, **fields, **more)
        except ValidationError as exc:
            reason = "invalid"
            raise Rejected(reason, describe(exc)) from exc


_SHARED: Final = ("question", "messages", "indexes", "filters", "passages", "after", "explain")


class AnswerRequest(SearchRequest):
    """A question to be answered."""

    stream: bool | None = Field(None, description="Server-sent events. Default: whether `Accept` names text/event-stream.")
    cache: Literal["use", "off"] = Field("use", description="off: answer afresh, and remember nothing of it.")
    max_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = Field(None, description="Longest answer, in tokens.")
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


class DocumentChanges(
    RootModel[Annotated[tuple[DocumentChange, ...], Field(min_length=1, max_length=MAX_DOCUMENTS), at_most(MAX_DOCUMENTS)]]
):
    """Several changes, published in this order."""

    model_config = ConfigDict(frozen=True)


class Published(BaseModel):
    """All of it is in the log."""

    accepted: int
    tokens: tuple[str, ...] = Field(description="One a change, in order: pass them as `after` to read what was written.")


class FeedbackRequest(Strict):
    """What the caller thought of an answer it got."""

    query_id: QueryId
    rating: Literal["up", "down"]
    comment: Annotated[Text, Field(max_length=MAX_COMMENT_LENGTH)] | None = None


class FeedbackTaken(BaseModel):
    """It is in the log. Whether it counts is not told: that would tell who asked."""

    query_id: str


class Health(BaseModel):
    """The process runs."""

    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    """Whether answers can be given, and what is waited for."""

    status: Literal["ready", "waiting"]
    waiting_for: dict[str, str]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(description="Stable; docs/http.md lists all.")
    remedy: str
    request_id: str
