"""`QueryRequest` and `AnswerEvent`: the two sides of `rag.queries` → `rag.answers`.

A request is strict (an unknown field is rejected: it might be a restriction we would not honour); an answer's readers
should ignore fields they do not know, because answers grow.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from schemas.acl import MAX_ALLOW_LIST
from schemas.filters import Filters
from schemas.wire import ONE_LINE, SCHEMA_VERSION, Growing, IndexName, Line, Moment, Principal, Strict, Text, Version, at_most

MAX_QUESTION_LENGTH: Final = 4_000
MAX_QUERY_ID_LENGTH: Final = 128
MAX_INDEXES: Final = 16
MAX_PASSAGES: Final = 50
MAX_TOKENS: Final = 64
MAX_MESSAGES: Final = 64
MAX_MESSAGE_LENGTH: Final = 32_000
MAX_SIGNED_TOKEN: Final = 8_192
MAX_OUTPUT_TOKENS: Final = 16_384

UNKNOWN_ANSWER: Final = "I don't know based on the available knowledge."
"""What is said, word for word, when nothing retrieved supports an answer."""

QueryId = Annotated[str, Field(min_length=1, max_length=MAX_QUERY_ID_LENGTH), ONE_LINE]
Mode = Literal["hybrid", "vector", "keyword", "cached", "no_retrieval", "static"]
Outcome = Literal["answered", "unknown", "rejected", "expired", "failed"]
Degradation = Literal[
    "vector_timeout",
    "vector_unavailable",
    "vector_failed",
    "vector_incomplete",
    "keyword_timeout",
    "keyword_unavailable",
    "keyword_failed",
    "rerank_timeout",
    "rerank_failed",
    "access_lag",
    "memory_away",
    "model_timeout",
    "model_interrupted",
    "model_unavailable",
    "model_rate_limited",
    "model_refused",
    "model_retried",
    "fallback_model",
    "prompt_failed",
    "content_filtered",
    "uncited",
    "newest_version_failed",
    "change_dead_lettered",
    "evidence_withdrawn",
]
"""What can be missing while answering. docs/degradation.md explains each."""
CacheVerdict = Literal[
    "hit", "no_entry", "not_alike", "wording", "no_evidence", "disabled", "not_asked_for", "conversation", "no_vector"
]
"""Why a remembered answer was given, or was not. docs/answer-cache.md explains each."""


class Message(Strict):
    """A turn of a conversation, as OpenAI's interface has them."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Annotated[Text, Field(max_length=MAX_MESSAGE_LENGTH)]


class QueryRequest(Strict):
    """A question. The Kafka key is `query_id`; who asks is in `principals`, which the producer vouches for.

    What is asked is either `question` or the last turn of `messages`, which must be the user's.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    query_id: QueryId = Field(description="Chosen by the asker; the answer carries it.")
    question: Annotated[Text, Field(max_length=MAX_QUESTION_LENGTH)] = ""
    messages: Annotated[tuple[Message, ...], Field(max_length=MAX_MESSAGES), at_most(MAX_MESSAGES)] = Field(
        (), description="A conversation in place of `question`; its last turn is what the user asks now."
    )
    principals: Annotated[
        tuple[Principal | Literal["role:operator"], ...], Field(max_length=MAX_ALLOW_LIST), at_most(MAX_ALLOW_LIST)
    ] = Field((), description="Who asks: `user:…`, `group:…`. Everyone has `*`.")
    indexes: Annotated[tuple[IndexName, ...], Field(max_length=MAX_INDEXES), at_most(MAX_INDEXES)] = Field(
        (), description="Where to look. Default: wherever the routes send it, else all."
    )
    filters: Filters = Field(
        default_factory=dict,
        description='By metadata: {"product": "cards", "year": {"gte": 2024}, "lang": {"in": ["en", "de"]}}; all must hold.',
    )
    passages: Annotated[int, Field(ge=1, le=MAX_PASSAGES)] = Field(5, description="Passages to base the answer on, at most.")
    deadline: Moment | None = Field(None, description="After this moment the answer is `expired`.")
    after: Annotated[tuple[Line, ...], Field(max_length=MAX_TOKENS), at_most(MAX_TOKENS)] = Field(
        (), description="Read-your-writes tokens: answer only from a view that has these changes."
    )
    reply_to: Annotated[str, Field(max_length=249), ONE_LINE] | None = Field(
        None, description="Answer topic, if the operator allows it."
    )
    explain: bool = Field(False, description="Add how the answer was found.")
    stream: bool = Field(True, description="Send deltas while the answer is made; false: the final event only.")
    cache: Literal["use", "off"] = Field("use", description="off: answer afresh, and remember nothing of it.")
    max_tokens: Annotated[int, Field(ge=1, le=MAX_OUTPUT_TOKENS)] | None = Field(
        None, description="Longest answer, in the model's tokens."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    token: Annotated[str, Field(max_length=MAX_SIGNED_TOKEN), ONE_LINE] | None = Field(
        None, repr=False, description="A signed token (JWT) that says who asks, where the operator demands one."
    )

    @model_validator(mode="after")
    def _asks_one_thing(self) -> Self:
        if bool(self.question.strip()) == bool(self.messages):
            msg = "give either a `question` that is not empty or `messages`"
            raise ValueError(msg)
        if self.messages and (self.messages[-1].role != "user" or not self.messages[-1].content.strip()):
            msg = "the last of `messages` must be the user's, and not empty"
            raise ValueError(msg)
        if self.messages and len(self.messages[-1].content) > MAX_QUESTION_LENGTH:
            msg = f"the last of `messages` must not be longer than {MAX_QUESTION_LENGTH} characters"
            raise ValueError(msg)
        return self

    @property
    def asked(self) -> str:
        """What the user asks now, as it was written."""
        return self.messages[-1].content if self.messages else self.question


class Citation(Growing):
    """A passage that the answer rests on."""

    number: int = Field(description="The [n] in the answer's text.")
    index: str
    doc_id: str
    title: str
    source_uri: str | None = None
    version: Version
    chunk: int = Field(description="Position of the chunk in the document, from 0.")
    start: int = Field(description="The passage is characters start to end of the document's parsed text.")
    end: int
    score: float
    text: str = Field(description="The passage.")
    newest_version_failed: bool = Field(False, description="A newer version of the document could not be processed.")


class PartitionLag(Growing):
    """How far the answering worker had read one partition of `rag.documents`."""

    partition: int
    position: int = Field(description="Everything below this offset is reflected.")
    end: int | None = Field(None, description="The partition's end when it was last asked; null: not known yet.")


class AsOf(Growing):
    """How fresh the answer is, as measured by the reader itself.

    Everything published before `reflected_until` is reflected. Null means unknown, and is never guessed.
    """

    reflected_until: Moment | None = None
    lag_ms: int | None = Field(None, description="Age of `reflected_until` when the answer was made.")
    partitions: tuple[PartitionLag, ...] = ()


class Route(Growing):
    """Where the question was sent."""

    name: str = Field(description="`request` where the request names its indexes; `all` where no route fits.")
    indexes: tuple[str, ...] = Field((), description="Indexes searched; empty: none, nothing was looked up.")
    score: float | None = Field(None, description="How well the question fits the route's examples, in [-1, 1].")


class Usage(Growing):
    """What making the answer took."""

    model: str = Field(description="The model that wrote it; `extractive`: none, sentences were quoted.")
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = Field(0.0, description="By the prices in the settings, in `currency`.")
    currency: str = "USD"
    is_estimated: bool = Field(False, description="The endpoint gave no token counts; these are guesses that lean high.")


class SearchedAs(Growing):
    """What was searched for in place of the last turn of a conversation."""

    question: str
    by: Literal["model", "previous_turn"] = Field(
        description="model: condensed into a question of its own; previous_turn: the turn before was searched beside it."
    )


class CacheExplanation(Growing):
    """Why a remembered answer was or wasn't used."""

    verdict: CacheVerdict | str = Field(description="`hit`, or why not. There may be more codes one day.")
    similarity: float | None = Field(None, description="Of the nearest remembered question, cosine.")
    threshold: float | None = None
    age_s: float | None = Field(None, description="Of the answer that was used.")
    detail: str = ""


class ArmExplanation(Growing):
    """One retrieval arm's part: how many candidates it gave, how long it took, what went wrong."""

    arm: Literal["vector", "keyword"]
    candidates: int = Field(description="How many of the candidates below it found; operators see how many it gave in all.")
    took_ms: float | None = Field(None, description="Operators only.")
    error: str | None = None


class CandidateExplanation(Growing):
    """One candidate that passed every check, with the scores that ranked it."""

    index: str
    doc_id: str
    version: Version
    chunk: int
    score: float
    vector_score: float | None = None
    keyword_score: float | None = Field(None, description="BM25, as a share of the best candidate's; operators see it as it is.")


class Explanation(Growing):
    """How an answer was found. Counts and times that tell of hidden documents are filled in for operators only."""

    arms: tuple[ArmExplanation, ...] = ()
    candidates: tuple[CandidateExplanation, ...] = ()
    generation: str = ""
    support: float | None = Field(None, description="How far the evidence supports an answer, in [0, 1].")
    withheld: dict[str, int] | None = Field(None, description="Candidates dropped, by reason. Operators only.")
    timings_ms: dict[str, float] = Field(default_factory=dict, description="By step. Operators only.")
    cache: CacheExplanation | None = None
    routes: dict[str, float] = Field(default_factory=dict, description="Every route's score.")
    invented_citations: int = Field(0, description="Citations in the model's text that no passage stands behind, removed.")


class AnswerEvent(Growing):
    """One event of an answer: deltas while text is made, then one final event that holds all of it.

    Order by (`attempt`, `seq`): a higher attempt starts over, and its events replace those of earlier ones.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    query_id: str
    attempt: int = 1
    seq: int = 0
    kind: Literal["delta", "final"] = "final"
    delta: str = ""
    outcome: Outcome | None = Field(None, description="Only on the final event.")
    text: str = Field("", description="The whole answer, on the final event.")
    citations: tuple[Citation, ...] = ()
    mode: Mode | None = None
    # Closed for who writes it, open for who reads it: a later release may know of more.
    degraded: tuple[Degradation | str, ...] = Field(
        (), description="What was missing while answering; empty when all was well. There may be more reasons one day."
    )
    as_of: AsOf | None = None
    route: Route | None = None
    searched_as: SearchedAs | None = Field(None, description="Only for conversations.")
    usage: Usage | None = None
    is_cut: bool = Field(False, description="The text ends because it reached its longest length.")
    error: str | None = Field(None, description="What is wrong with the request, or what failed.")
    reason: str | None = Field(None, description="A stable code for `error`.")
    explanation: Explanation | None = None
    took_ms: float | None = None
    answered_at: Moment | None = None
