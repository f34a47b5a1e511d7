"""Are the models there that settings name beside the encoder: a language model's endpoints, its weights, a cross-encoder?"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ragstream.doctor.finding import Finding
from ragstream.doctor.machine import OFFLINE
from schemas.errors import RagError
from schemas.settings import Settings

if TYPE_CHECKING:
    from connectors.llm import Endpoint

ENDPOINT_TIMEOUT_S: Final = 10.0
SHOWN: Final = 8
"""Names of models that a finding lists, each cut at `SHOWN_LENGTH`: they come from outside."""
SHOWN_LENGTH: Final = 80

_PREFIXES: Final = {"primary": "RAG_LLM__", "fallback": "RAG_LLM__FALLBACK_"}


def check_language_model(settings: Settings) -> Iterator[Finding]:
    """Each endpoint: whether it answers and has the model; the small model: whether it is installed. Nothing is generated."""
    llm = settings.llm
    if llm.kind == "extractive":
        return
    from query_api.generation.factory import endpoints  # noqa: PLC0415  loads the client

    if llm.kind == "local":
        yield _check_weights()
    try:
        named = endpoints(llm)
    except RagError as exc:
        yield Finding("language model", False, str(exc), "correct RAG_LLM__…, as docs/models.md has it")
        return
    for endpoint in named:
        yield check_endpoint(endpoint, ENDPOINT_TIMEOUT_S)


def check_endpoint(endpoint: Endpoint, timeout_s: float) -> Finding:
    """One endpoint, within `timeout_s`."""
    from connectors.llm import ModelFailed, has_model, listed_models  # noqa: PLC0415

    part = f"language model {endpoint.model} ({endpoint.name})"
    prefix = _PREFIXES[endpoint.name]
    try:
        listed = asyncio.run(listed_models(endpoint, timeout_s))
    except ModelFailed as exc:
        return Finding(part, False, str(exc), f"start it, or correct {prefix}BASE_URL and {prefix}API_KEY")
    if listed is None:
        return Finding(part, True, f"{endpoint.place} answers, and keeps no list of its models to look it up in")
    if not has_model(listed, endpoint.model):
        names = ", ".join(_shown(name) for name in sorted(listed)[:SHOWN]) or "none"
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        problem = f"{endpoint.place} doesn't list it; it has: {names}{more}"
        return Finding(part, False, problem, f"load it there, or set {prefix}MODEL to one that it has")
    return Finding(part, True, f"{endpoint.place} answers and lists it")


def check_reranker(settings: Settings) -> Iterator[Finding]:
    """Load the cross-encoder from this machine alone, and score a pair with it."""
    query = settings.query
    if query.rerank == "off":
        return
    os.environ.setdefault(OFFLINE, "1")
    from connectors.reranking import create_reranker  # noqa: PLC0415

    part, remedy = f"cross-encoder {query.rerank_model}".strip(), "name a folder that holds it: RAG_QUERY__RERANK_MODEL"
    started = time.monotonic()
    try:
        reranker = create_reranker(query)
        if reranker is not None:
            reranker.load()
            reranker.close()
    except (RagError, ImportError) as exc:
        yield Finding(part, False, str(exc), remedy)
    else:
        yield Finding(part, True, f"loaded in {time.monotonic() - started:.1f} s")


def _check_weights() -> Finding:
    from connectors.llm.local import MODEL, find_weights, require_installed  # noqa: PLC0415

    part = f"language model {MODEL} (local)"
    try:
        require_installed()
    except RagError as exc:
        return Finding(part, False, str(exc), "install them, or choose another RAG_LLM__KIND")
    return Finding(part, True, str(find_weights()))


def _shown(name: str) -> str:
    text = name if name.isprintable() else repr(name)
    return f"{text[:SHOWN_LENGTH]}…" if len(text) > SHOWN_LENGTH else text
