"""What a call took, in tokens and money. Pure."""

from __future__ import annotations

from typing import Final

from connectors.llm import Finish
from schemas.queries import Usage
from schemas.settings import LlmSettings

MILLION: Final = 1_000_000


def usage_of(finish: Finish, settings: LlmSettings) -> Usage:
    """By the prices in the settings, which are the first endpoint's."""
    cost = finish.prompt_tokens * settings.price_input + finish.completion_tokens * settings.price_output
    return Usage(
        model=finish.model,
        prompt_tokens=finish.prompt_tokens,
        completion_tokens=finish.completion_tokens,
        cost=cost / MILLION,
        currency=settings.currency,
        is_estimated=finish.is_estimated,
    )
