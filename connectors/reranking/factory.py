"""Builds the reranker that the settings name."""

from __future__ import annotations

from connectors.reranking.cross_encoder import CrossEncoderReranker
from connectors.reranking.port import Reranker
from schemas.errors import Misconfigured
from schemas.settings import QuerySettings


def create_reranker(settings: QuerySettings) -> Reranker | None:
    """None where none is wanted. Raises: Misconfigured, when one is wanted and not named."""
    if settings.rerank == "off":
        return None
    if not settings.rerank_model:
        msg = "RAG_QUERY__RERANK=cross-encoder needs RAG_QUERY__RERANK_MODEL: a folder, or a name such as cross-encoder/…"
        raise Misconfigured(msg)
    return CrossEncoderReranker(settings.rerank_model)
