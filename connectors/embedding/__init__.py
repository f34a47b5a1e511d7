"""The encoder that turns chunks and questions into vectors, and the cache of its vectors."""

from __future__ import annotations

from connectors.embedding.batching import plan_batches
from connectors.embedding.cache import MemoryCache, NoCache
from connectors.embedding.factory import create_cache, create_embedder
from connectors.embedding.fake import HashingEmbedder
from connectors.embedding.lmdb_cache import LmdbCache
from connectors.embedding.port import Embedder, EmbeddingCache, Matrix, TokenIds, Vector

__all__ = [
    "Embedder",
    "EmbeddingCache",
    "HashingEmbedder",
    "LmdbCache",
    "Matrix",
    "MemoryCache",
    "NoCache",
    "TokenIds",
    "Vector",
    "create_cache",
    "create_embedder",
    "plan_batches",
]
