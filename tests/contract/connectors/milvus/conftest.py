"""Vector stores of all kinds, so that every contract test runs on each: memory, Milvus Lite, a Milvus server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from connectors.milvus import LiteServer, MemoryVectorStore, MilvusStore, VectorStore
from schemas.settings import MilvusSettings
from tests.contract.connectors.milvus.rows import DIMENSION


@pytest.fixture(scope="session")
def lite_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Milvus Lite, served to all tests of the session."""
    server = LiteServer(tmp_path_factory.mktemp("lite") / "milvus.db")
    yield server.start()
    server.close()


@pytest.fixture(params=["memory", "lite", pytest.param("milvus", marks=pytest.mark.milvus)])
def store(request: pytest.FixtureRequest) -> Iterator[VectorStore]:
    """One store of each kind."""
    made = _store(request, request.param)
    yield made
    made.close()


@pytest.fixture(scope="session")
def prepared() -> dict[str, str]:
    """The one collection of each server that most tests share: making one takes Milvus seconds."""
    return {}


@pytest.fixture
def collection(store: VectorStore, unique_name: str, prepared: dict[str, str]) -> str:
    """An empty collection."""
    server = store.uri if isinstance(store, MilvusStore) else ""
    if not server:
        store.ensure(unique_name, DIMENSION)
        return unique_name
    name = prepared.setdefault(server, unique_name)
    store.ensure(name, DIMENSION)
    store.delete(name, list(store.row_ids(name)))
    return name


def _store(request: pytest.FixtureRequest, kind: str) -> VectorStore:
    if kind == "memory":
        return MemoryVectorStore()
    return MilvusStore(MilvusSettings(), _uri(request, kind))


def _uri(request: pytest.FixtureRequest, kind: str) -> str:
    if kind == "lite":
        return str(request.getfixturevalue("lite_uri"))
    return str(request.getfixturevalue("milvus_server").uri)
