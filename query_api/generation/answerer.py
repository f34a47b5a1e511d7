"""An answer written by a language model, from its passages alone, with citations that are checked while it streams."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Final

import structlog

from connectors.llm import ChatModel, ChatRequest, Finish, ModelFailed, estimate_prompt, estimate_tokens
from query_api.answer import Asking, Draft, Emit, GenerationFailed, Passage
from query_api.deadline import Deadline
from query_api.generation.budget import AROUND_PASSAGE, REVISION, choose
from query_api.generation.citations import CitationFilter
from query_api.generation.markup import MarkupFilter
from query_api.generation.metrics import ModelMetrics
from query_api.generation.pricing import usage_of
from query_api.generation.template import RENDERING_ERRORS, PromptTemplate
from query_api.generation.thoughts import ThoughtFilter
from schemas.queries import UNKNOWN_ANSWER, Degradation
from schemas.settings import LlmSettings

RESERVE_S: Final = 0.05
"""Left of the deadline for saying that the model didn't make it."""
TITLE_TOKENS: Final = 100

_log = structlog.get_logger(__name__)


class LlmAnswerer:
    """Contract: `query_api.answer.Answerer`. A citation's number is the passage's number in the prompt.

    The conversation's history is not shown to the model: the question stands alone, and what earlier turns claim is no evidence.

    Args:
        chat: with its retries and its second endpoint.
        room: tokens for passages in the prompt.
        identity: what tells this model at its endpoint from others.
    """

    def __init__(
        self, chat: ChatModel, template: PromptTemplate, settings: LlmSettings, metrics: ModelMetrics, *, room: int, identity: str
    ) -> None:
        self._chat = chat
        self._template = template
        self._settings = settings
        self._metrics = metrics
        self._room = room
        parts = (identity, settings.max_tokens, settings.temperature, room, template.digest, REVISION)
        digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
        self._fingerprint = f"llm/{digest}"

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def select(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        return choose(passages, self._room)

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        request = self._request(asking)
        writing = _Writing(len(asking.passages))
        try:
            async with (
                aclosing(self._chat.stream(request, max(0.0, deadline.remaining_s - RESERVE_S))) as items,
                aclosing(writing.read(items)) as pieces,
            ):
                async for text in pieces:
                    await emit(text)
        except ModelFailed as exc:
            raise GenerationFailed(exc.code, str(exc)) from exc
        return self._draft(asking, request, writing)

    def _request(self, asking: Asking) -> ChatRequest:
        texts = [(passage.title, passage.text) for passage in asking.passages]
        room = max(1, self._room - AROUND_PASSAGE - TITLE_TOKENS)
        try:
            turns = self._template.render(asking.question, texts, room)
        except RENDERING_ERRORS as exc:
            reason: Degradation = "prompt_failed"
            raise GenerationFailed(reason, f"the prompt's template: {type(exc).__name__}") from exc
        settings = self._settings
        max_tokens = settings.max_tokens if asking.max_tokens is None else asking.max_tokens
        temperature = settings.temperature if asking.temperature is None else asking.temperature
        return ChatRequest(turns, max_tokens, temperature)

    def _draft(self, asking: Asking, request: ChatRequest, writing: _Writing) -> Draft:
        finish = writing.finish or _estimated(request, writing, self._settings.model)
        usage = usage_of(finish, self._settings)
        cited = () if writing.is_unknown else tuple(asking.passages[number - 1].citation(number) for number in writing.cited)
        reasons: dict[Degradation, bool] = {
            "fallback_model": finish.is_fallback,
            "model_retried": finish.retries > 0,
            "uncited": bool(writing.text) and not cited and not writing.is_unknown,
            "content_filtered": finish.reason == "filtered",
        }
        self._count(reasons, finish, writing)
        self._metrics.used(usage, "answer")
        degraded = tuple(reason for reason, holds in reasons.items() if holds)
        return Draft(writing.text, cited, usage, degraded, writing.invented, is_cut=finish.reason == "length")

    def _count(self, reasons: dict[Degradation, bool], finish: Finish, writing: _Writing) -> None:
        self._metrics.invented.inc(writing.invented)
        self._metrics.uncited.inc(reasons["uncited"])
        self._metrics.cut.inc(finish.reason == "length")
        if writing.invented:
            _log.info("citations_invented", count=writing.invented, model=finish.model)


class _Writing:
    """One answer being written: from the model's pieces to those that are shown."""

    def __init__(self, passages: int) -> None:
        self._thoughts = ThoughtFilter()
        self._citations = CitationFilter(passages)
        self._markup = MarkupFilter()
        self._waiting = ""
        self._shown: list[str] = []
        self.is_unknown = False
        self.raw_tokens = 0
        self.finish: Finish | None = None

    @property
    def text(self) -> str:
        return "".join(self._shown)

    @property
    def cited(self) -> Sequence[int]:
        return self._citations.cited

    @property
    def invented(self) -> int:
        return self._citations.invented

    async def read(self, items: AsyncIterator[str | Finish]) -> AsyncGenerator[str, None]:
        """The pieces to show, none empty. Ends early where the model says that it doesn't know: nothing after it counts."""
        async for item in items:
            if isinstance(item, Finish):
                self.finish = item
                break
            self.raw_tokens += estimate_tokens(item)
            for text in self._shows(self._citations.feed(self._thoughts.feed(item))):
                yield text
            if self.is_unknown:
                return
        rest = self._citations.feed(self._thoughts.finish()) + self._citations.finish()
        for text in self._shows(rest, is_last=True):
            yield text

    def _shows(self, text: str, *, is_last: bool = False) -> list[str]:
        """Holds text back while it may become the sentence of not knowing."""
        if self.is_unknown:
            return []
        waiting = self._waiting + self._markup.feed(text) + (self._markup.finish() if is_last else "")
        if not self._shown:
            plain = waiting.replace("’", "'")
            if plain.startswith(UNKNOWN_ANSWER):
                self.is_unknown, waiting = True, UNKNOWN_ANSWER
            elif not is_last and UNKNOWN_ANSWER.startswith(plain):
                self._waiting = waiting
                return []
        self._waiting = ""
        if waiting:
            self._shown.append(waiting)
        return [waiting] if waiting else []


def _estimated(request: ChatRequest, writing: _Writing, model: str) -> Finish:
    """For an answer that was ended before the model ended it."""
    return Finish("stop", model, estimate_prompt(request), writing.raw_tokens, is_estimated=True)
