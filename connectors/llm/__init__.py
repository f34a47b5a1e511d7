"""Language models: any OpenAI-compatible endpoint, a small model inside the process, an echo; and what makes them reliable.

Knows turns and tokens; prompts, passages and citations are the read path's business.
"""

from __future__ import annotations

from connectors.llm.breaker import CircuitBreaker, State
from connectors.llm.echo import EchoChat
from connectors.llm.endpoint import OPENAI_URL, Endpoint, EndpointChat, Patience
from connectors.llm.errors import (
    EndpointResting,
    ModelFailed,
    ModelInterrupted,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
)
from connectors.llm.listing import has_model, listed_models
from connectors.llm.local import LocalModel
from connectors.llm.port import ChatModel, ChatRequest, Finish, Turn
from connectors.llm.steady import Line, Observer, SteadyChat
from connectors.llm.tokens import estimate_prompt, estimate_tokens

__all__ = [
    "OPENAI_URL",
    "ChatModel",
    "ChatRequest",
    "CircuitBreaker",
    "EchoChat",
    "Endpoint",
    "EndpointChat",
    "EndpointResting",
    "Finish",
    "Line",
    "LocalModel",
    "ModelFailed",
    "ModelInterrupted",
    "ModelRateLimited",
    "ModelRefused",
    "ModelTimeout",
    "ModelUnavailable",
    "Observer",
    "Patience",
    "State",
    "SteadyChat",
    "Turn",
    "estimate_prompt",
    "estimate_tokens",
    "has_model",
    "listed_models",
]
