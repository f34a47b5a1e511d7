"""OpenAI's chat completions, as far as an answer from documents can be one. Shapes as in `openai.types.chat`.

What OpenAI's interface has no field for (citations, freshness, route) is in an extra object `ragstream`, in requests and answers.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from query_api.http.models import AnswerRequest, TimeoutMs
from query_api.http.problems import ProblemError, is_problem, problem_of
from schemas.filters import Filters
from schemas.queries import MAX_MESSAGE_LENGTH, MAX_MESSAGES, MAX_OUTPUT_TOKENS, MAX_PASSAGES, AnswerEvent, Message, QueryId
from schemas.wire import IndexName, Line, Strict, Text, at_most, describe

MODEL: Final = "ragstream"
MAX_SENT_MESSAGES: Final = 2_000
"""Chat windows send the whole conversation; its system message and last turns are looked at."""
MAX_PARTS: Final = 64

IGNORED: Final = (
    "audio", "frequency_penalty", "logit_bias", "metadata", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning_effort", "safety_identifier", "seed",
    "service_tier", "stop", "store", "top_logprobs", "top_p", "user", "verbosity", "web_search_options", "tools", "functions",
    "moderation",
)  # fmt: skip
"""Parameters of OpenAI's that are taken and change nothing: none of them narrows what may be told."""


class TextPart(BaseModel):
    """A piece of a message."""

    model_config = ConfigDict(extra="ignore")

    type: Annotated[str, Field(max_length=64)]
    text: Annotated[Text, Field(max_length=MAX_MESSAGE_LENGTH)] = ""


class ChatMessage(BaseModel):
    """A turn, as OpenAI's clients send it."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: (
        Annotated[Text, Field(max_length=MAX_MESSAGE_LENGTH)]
        | Annotated[tuple[TextPart, ...], Field(max_length=MAX_PARTS), at_most(MAX_PARTS)]
        | None
    ) = None

    @property
    def text(self) -> str:
        """Raises: ProblemError, for pictures and sounds."""
        if not isinstance(self.content, tuple):
            return self.content or ""
        others = [part.type for part in self.content if part.type != "text"]
        if others:
            code = "unsupported_parameter"
            raise ProblemError(code, f"messages hold text only here; this one holds {others[0]!r}")
        return "\n".join(part.text for part in self.content)


class StreamOptions(BaseModel):
    """What comes with a stream."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class Extras(Strict):
    """What ragstream has beyond OpenAI's interface (`extra_body={"ragstream": {...}}` in their Python client)."""

    query_id: QueryId | None = None
    filters: Filters = Field(default_factory=dict)
    indexes: Annotated[tuple[IndexName, ...], Field(max_length=16), at_most(16)] = ()
    passages: Annotated[int, Field(ge=1, le=MAX_PASSAGES)] = 5
    after: Annotated[tuple[Line, ...], Field(max_length=64), at_most(64)] = ()
    explain: bool = False
    cache: Literal["use", "off"] = "use"
    timeout_ms: TimeoutMs | None = None


class ChatRequest(BaseModel):
    """A chat completion to be made. Parameters that are not listed are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: Annotated[str, Field(max_length=128)] = MODEL
    messages: Annotated[tuple[ChatMessage, ...], Field(min_length=1, max_length=MAX_SENT_MESSAGES), at_most(MAX_SENT_MESSAGES)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    tool_choice: Any = None
    function_call: Any = None
    response_format: Any = None
    logprobs: bool | None = None
    modalities: Any = None
    ragstream: Extras = Extras()

    def answer_request(self, indexes: Sequence[str]) -> AnswerRequest:
        """The same in ragstream's own form. Raises: ProblemError."""
        self._refuse_what_would_mislead()
        model_index = _index_of(self.model, indexes)
        extras = self.ragstream
        limit = self.max_completion_tokens or self.max_tokens
        try:
            return AnswerRequest(
                query_id=extras.query_id,
                messages=_turns(self.messages),
                indexes=extras.indexes or model_index,
                filters=extras.filters,
                passages=extras.passages,
                after=extras.after,
                explain=extras.explain,
                cache=extras.cache,
                timeout_ms=extras.timeout_ms,
                max_tokens=min(limit, MAX_OUTPUT_TOKENS) if limit is not None else None,
                temperature=self.temperature,
                stream=bool(self.stream),
            )
        except ValidationError as exc:
            code = "invalid"
            raise ProblemError(code, describe(exc)) from exc

    def _refuse_what_would_mislead(self) -> None:
        code = "unsupported_parameter"
        if self.n not in {None, 1}:
            raise ProblemError(code, "`n` must be 1: there is one answer")
        if self.logprobs:
            raise ProblemError(code, "`logprobs` can't be given")
        if self.tool_choice not in (None, "auto", "none"):
            raise ProblemError(code, "`tool_choice` must not demand a tool: none is called here")
        if self.function_call not in (None, "auto", "none"):
            raise ProblemError(code, "`function_call` must not demand a function: none is called here")
        if self.response_format not in (None, {}, {"type": "text"}):
            raise ProblemError(code, "`response_format` must be text")
        if self.modalities is not None and not (isinstance(self.modalities, list) and "text" in self.modalities):
            raise ProblemError(code, "`modalities` must hold text")


def models(indexes: Sequence[str]) -> list[str]:
    """The names that `model` may have."""
    return [MODEL, *(f"{MODEL}/{index}" for index in sorted(indexes))]


def model_card(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "ragstream"}


def _finish(event: AnswerEvent) -> str:
    return "length" if event.is_cut else "stop"


def _index_of(model: str, indexes: Sequence[str]) -> tuple[str, ...]:
    if model not in models(indexes):
        code = "model_not_found"
        raise ProblemError(code, f"there is no model {model!r}; there are {', '.join(models(indexes))}")
    return (model.removeprefix(f"{MODEL}/"),) if model != MODEL else ()


def _turns(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """The first system message and the last turns; turns without text (calls of tools) are left out."""
    if messages[-1].role != "user":
        code = "invalid"
        raise ProblemError(code, "the last of `messages` must be the user's")
    turns = [(m.role if m.role != "function" else "tool", m.text) for m in messages]
    told = [Message(role=role, content=text) for role, text in turns[:-1] if text.strip()]
    told.append(Message(role="user", content=turns[-1][1]))
    if len(told) <= MAX_MESSAGES:
        return tuple(told)
    system = told[:1] if told[0].role in {"system", "developer"} else []
    return tuple(system + told[len(told) - MAX_MESSAGES + len(system) :])


class ChatShape:
    """Completion or chunks of one answer. What was sent can't be taken back: where it is void, the stream ends in an error."""

    def __init__(self, model: str, query_id: str, *, includes_usage: bool, now_s: float | None = None) -> None:
        self._model = model
        self._query_id = query_id
        self._includes_usage = includes_usage
        self._created = int(time.time() if now_s is None else now_s)
        self._attempt = 1
        self._said = ""
        self._has_begun = False
        self.is_over = False

    def whole(self, event: AnswerEvent) -> bytes:
        message = {"role": "assistant", "content": event.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": _finish(event), "logprobs": None}
        body = self._head("chat.completion") | {"choices": [choice], "usage": _usage(event), "ragstream": _extras(event)}
        return orjson.dumps(body)

    def delta(self, event: AnswerEvent) -> bytes:
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            if self._said:
                return self._replaced()
        self._said += event.delta
        return self._text(event.delta)

    def final(self, event: AnswerEvent) -> bytes:
        self.is_over = True
        if is_problem(event):
            return _data({"error": problem_of(event).for_openai()}) + _DONE
        if not event.text.startswith(self._said):
            return self._replaced()
        rest = event.text[len(self._said) :]
        last = self._chunk({}, _finish(event)) | {"ragstream": _extras(event)}
        usage = self._head("chat.completion.chunk") | {"choices": [], "usage": _usage(event)}
        return (
            (self._text(rest) if rest or not self._has_begun else b"")
            + _data(last)
            + (_data(usage) if self._includes_usage else b"")
            + _DONE
        )

    def _replaced(self) -> bytes:
        self.is_over = True
        code = "answer_replaced"
        error = ProblemError(code, "what the text rested on was changed or withdrawn while it was written").for_openai()
        return _data({"error": error}) + _DONE

    def _text(self, text: str) -> bytes:
        delta: dict[str, Any] = {"content": text} if self._has_begun else {"role": "assistant", "content": text}
        self._has_begun = True
        return _data(self._chunk(delta, None))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        chunk = self._head("chat.completion.chunk") | {"choices": [choice]}
        return chunk | {"usage": None} if self._includes_usage else chunk

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"chatcmpl-{self._query_id}", "object": kind, "created": self._created, "model": self._model}


_DONE: Final = b"data: [DONE]\n\n"


def _data(value: object) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _usage(event: AnswerEvent) -> dict[str, int]:
    prompt = event.usage.prompt_tokens if event.usage else 0
    completion = event.usage.completion_tokens if event.usage else 0
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _extras(event: AnswerEvent) -> dict[str, Any]:
    return event.model_dump(mode="json", exclude_none=True, exclude={"text", "delta", "kind", "schema_version"})
