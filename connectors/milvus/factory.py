"""Makes the vector store that the settings ask for."""

from __future__ import annotations

from connectors.milvus.port import VectorStore
from connectors.milvus.store import MilvusStore
from schemas.errors import Misconfigured
from schemas.settings import Settings


def create_vector_store(settings: Settings, uri: str | None = None) -> VectorStore:
    """A store on the server at `uri`: a Milvus, or the embedded `LiteServer`. Without `uri`, the settings' own server.

    Raises: Misconfigured when there is no address, or it is a file.
    """
    if uri is None and settings.milvus.uri is None:
        msg = "no Milvus: set RAG_MILVUS__URI=http(s)://host:19530, or let `ragstream up` start the embedded one"
        raise Misconfigured(msg)
    return MilvusStore(settings.milvus, uri)
