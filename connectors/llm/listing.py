"""Which models an endpoint says it has. Asks once; for whoever checks settings, not for who answers questions."""

from __future__ import annotations

import asyncio
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Final

from connectors.llm.endpoint import NO_KEY, Endpoint
from connectors.llm.errors import ModelTimeout, ModelUnavailable
from connectors.llm.translation import translated

NO_LIST: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})
LISTED_MAX: Final = 10_000


async def listed_models(endpoint: Endpoint, timeout_s: float) -> tuple[str, ...] | None:
    """Their names as the endpoint gives them, unchecked; None where it answers and keeps no list. Raises: ModelFailed."""
    try:
        async with asyncio.timeout(timeout_s):
            return await _listed(endpoint)
    except TimeoutError as exc:
        msg = f"{endpoint.place}: no list of models within {timeout_s:g} s"
        raise ModelTimeout(msg, waited_s=timeout_s) from exc


def has_model(listed: tuple[str, ...], model: str) -> bool:
    """Whether an endpoint with these models serves `model`: Ollama adds a tag, Gemini a folder, LiteLLM has patterns."""
    names = {model, f"{model}:latest", f"models/{model}"}
    return any(one in names or ("*" in one and fnmatchcase(model, one)) for one in listed)


async def _listed(endpoint: Endpoint) -> tuple[str, ...] | None:
    from openai import APIStatusError, AsyncOpenAI  # noqa: PLC0415  most processes never need it

    with translated(endpoint.place):
        async with AsyncOpenAI(
            api_key=endpoint.api_key or NO_KEY, base_url=endpoint.base_url, max_retries=0, timeout=None
        ) as client:
            try:
                page = await client.models.list()
            except APIStatusError as exc:
                if exc.status_code in NO_LIST:
                    return None
                raise
    try:
        return tuple(str(model.id) for model in page.data[:LISTED_MAX])
    except (AttributeError, TypeError) as exc:
        msg = f"{endpoint.place}/models: sent what is no list of models"
        raise ModelUnavailable(msg) from exc
