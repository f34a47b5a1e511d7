"""The second look at the best passages: a model that reads question and passage together."""

from __future__ import annotations

from connectors.reranking.factory import create_reranker
from connectors.reranking.fake import SharedWordsReranker
from connectors.reranking.port import Reranker

__all__ = ["Reranker", "SharedWordsReranker", "create_reranker"]
