"""Builds what answers, as the settings say. What is wrong with them is refused here, at the start, not at the first question."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import stamina.instrumentation
import structlog

from connectors.llm import (
    OPENAI_URL,
    ChatModel,
    CircuitBreaker,
    Endpoint,
    EndpointChat,
    Line,
    LocalModel,
    Patience,
    SteadyChat,
)
from query_api.answer import Answerer, ExtractiveAnswerer
from query_api.conversation import Condenser
from query_api.generation.answerer import LlmAnswerer
from query_api.generation.metrics import ModelMetrics
from query_api.generation.template import SHIPPED, SMALL, load_template
from schemas.errors import Misconfigured
from schemas.settings import LlmSettings

LOCAL_ROOM: Final = 350
"""Tokens of passages for the small model at most: it reads some 400 a second on two cores, and is lost in more."""
LOCAL_TOKENS: Final = 80
"""Of its answer, at most, unless the request says otherwise: what it has to say it has said by then."""
LOCAL_PATIENCE_S: Final = 20.0
"""It shares the processor with everything else here: on a busy one its first token takes seconds, and nobody answers sooner."""
PROMPT_OVERHEAD: Final = 1_536
"""Rules, question, chat template; a question is 4,000 characters at most."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Generation:
    """What answers and what condenses conversations, over one model. Closed by whoever had it made."""

    answerer: Answerer
    conversations: Condenser
    _chat: ChatModel | None = None
    _local: LocalModel | None = field(default=None, repr=False)

    async def release(self) -> None:
        """Let go of this event loop's connections, once nothing is asked in it any more. A loop that ends does it by itself."""
        if self._chat is not None:
            await self._chat.close()

    def close(self) -> None:
        """Stop the model in this process, if there is one. Never raises."""
        if self._local is not None:
            self._local.close()


def create_generation(settings: LlmSettings, metrics: ModelMetrics) -> Generation:
    """What the settings ask for, ready to use. Blocks for seconds where a model is loaded into this process.

    Raises: Misconfigured.
    """
    if settings.kind == "extractive":
        return Generation(ExtractiveAnswerer(), Condenser(settings))
    template = load_template(settings.prompt_file, SMALL if settings.kind == "local" else SHIPPED)
    fallback = _fallback(settings)
    if settings.kind == "local":
        room = min(LOCAL_ROOM, settings.context_tokens)
        local = LocalModel(room + settings.max_tokens + PROMPT_OVERHEAD)
        first, identity = local.start(), f"local/{local.start().model}"
        settings = settings.model_copy(update={"max_tokens": min(LOCAL_TOKENS, settings.max_tokens)})
    else:
        local, room, first = None, settings.context_tokens, _endpoint(settings)
        identity = f"{first.place}/{first.model}"
    chat = _steady(settings, [first] if fallback is None else [first, fallback], metrics)
    answerer = LlmAnswerer(chat, template, settings, metrics, room=room, identity=identity)
    condenser = Condenser(settings, chat if settings.condense else None, metrics)
    _log.info("model_configured", endpoint=first.place, model=first.model, fallback=fallback.place if fallback else None)
    return Generation(answerer, condenser, chat, local)


def endpoints(settings: LlmSettings) -> tuple[Endpoint, ...]:
    """Those outside of this process that the settings name, in the order in which they are asked. Raises: Misconfigured."""
    if settings.kind == "extractive":
        return ()
    first = (_endpoint(settings),) if settings.kind == "openai" else ()
    fallback = _fallback(settings)
    return (*first, fallback) if fallback is not None else first


def _steady(settings: LlmSettings, endpoints: list[Endpoint], metrics: ModelMetrics) -> SteadyChat:
    # It would log each retry a second time, in a form of its own; ours are counted and logged where they happen.
    stamina.instrumentation.set_on_retry_hooks(())
    least = LOCAL_PATIENCE_S if settings.kind == "local" else 0.0
    patience = Patience(max(least, settings.first_token_s), max(least, settings.idle_s))
    lines = []
    for endpoint in endpoints:
        breaker = CircuitBreaker(settings.breaker_failures, settings.breaker_open_s)
        lines.append(Line(endpoint.name, EndpointChat(endpoint, patience), breaker))
        metrics.breaker(endpoint.name, breaker.state)
    return SteadyChat(lines, settings.attempts, metrics)


def _endpoint(settings: LlmSettings) -> Endpoint:
    if not settings.model:
        msg = "RAG_LLM__MODEL is empty: name the model as its endpoint does, such as gpt-4.1-mini or llama3.2:3b."
        raise Misconfigured(msg)
    key = settings.api_key.get_secret_value() if settings.api_key else None
    url = _checked_url("RAG_LLM__BASE_URL", settings.base_url or OPENAI_URL)
    if settings.base_url is None and not key:
        msg = "RAG_LLM__KIND=openai without RAG_LLM__API_KEY: set the key, or RAG_LLM__BASE_URL to an endpoint without keys."
        raise Misconfigured(msg)
    return Endpoint("primary", url, settings.model, key)


def _fallback(settings: LlmSettings) -> Endpoint | None:
    """The second endpoint; what it doesn't name is as at the first one, a key only at the same address."""
    if settings.fallback_base_url is None and not settings.fallback_model:
        return None
    if settings.kind == "local" and (settings.fallback_base_url is None or not settings.fallback_model):
        msg = "A fallback of the local model needs both RAG_LLM__FALLBACK_BASE_URL and RAG_LLM__FALLBACK_MODEL."
        raise Misconfigured(msg)
    url = settings.fallback_base_url or settings.base_url or OPENAI_URL
    secret = settings.fallback_api_key or (settings.api_key if settings.fallback_base_url is None else None)
    key = secret.get_secret_value() if secret else None
    return Endpoint("fallback", _checked_url("RAG_LLM__FALLBACK_BASE_URL", url), settings.fallback_model or settings.model, key)


def _checked_url(name: str, url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"{name}={url.rpartition('@')[2]}: not an address of an endpoint; it looks like http://localhost:11434/v1 or https://api.example.com/v1."
        raise Misconfigured(msg)
    return url.rstrip("/")
