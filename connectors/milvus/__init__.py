"""The vector store: rows in Milvus, found by vector by whoever may read them; Milvus Lite as a server; a fake in memory.

Knows rows and allow-lists; which rows are current is the manifests' business.
"""

from __future__ import annotations

from connectors.milvus.factory import create_vector_store
from connectors.milvus.lite import LiteServer
from connectors.milvus.memory import MemoryVectorStore
from connectors.milvus.port import Hit, Row, VectorStore, WriteMark
from connectors.milvus.store import MilvusStore

__all__ = [
    "Hit",
    "LiteServer",
    "MemoryVectorStore",
    "MilvusStore",
    "Row",
    "VectorStore",
    "WriteMark",
    "create_vector_store",
]
