"""Callers who may read all, a tenth, a hundredth of 20,000 rows find what an exact search would, on HNSW, while rows lag behind.

The real view and the real gathering; only the encoder is made up: directions without structure are the hardest for an index.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from connectors.embedding import HashingEmbedder
from connectors.embedding.port import Matrix
from connectors.keyword.memory import MemoryKeywordIndex
from connectors.milvus import MilvusStore, Row
from query_api.deadline import Deadline
from query_api.gathering import Gathering
from query_api.query import Query
from query_api.retrieval import Retriever
from query_api.view import IndexView
from schemas.acl import AllowList, principals_of
from schemas.index import ChunkSpan, DocKey, IndexEntry, LogKey, Registers, SourcePosition, row_id, state_to_wire
from schemas.join import effect_of
from schemas.queries import QueryRequest
from schemas.settings import MilvusSettings, Settings
from tests.servers.milvus import MilvusServer
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.waiting import wait_until

DOCUMENTS: Final = 5_000
CHUNKS: Final = 4
DIMENSION: Final = 64
QUESTIONS: Final = 20
NOW_MS: Final = 1_800_000_000_000
SHARES: Final = {"group:all": 1, "group:tenth": 10, "group:hundredth": 100}
SOURCE: Final = SourcePosition(0, 0)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Directions(HashingEmbedder):
    """Questions are numbers of directions."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        super().__init__(DIMENSION)
        self._vectors = vectors

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        return self._vectors[[int(text) for text in texts]]


class Stack(NamedTuple):
    settings: Settings
    view: IndexView
    retriever: Retriever
    rows: NDArray[np.float32]
    questions: NDArray[np.float32]


def groups_of(number: int) -> AllowList:
    """As the view has it."""
    return tuple(name for name, share in SHARES.items() if number % share == 0)


def lagging(number: int) -> AllowList:
    """As the rows have it: every third document was granted or revoked since."""
    if number % 3:
        return groups_of(number)
    return tuple(name for name, share in SHARES.items() if share > 1 and (number // 3) % share == 1)


def row_of(number: int) -> str:
    document, chunk = divmod(number, CHUNKS)
    return row_id(DocKey("docs", f"d{document}"), str(chunk), 0, SOURCE)


def manifest(document: int) -> tuple[bytes, bytes]:
    key = DocKey("docs", f"d{document}")
    state = effect_of(version=1, digest=f"{document:016x}", allow=groups_of(document))
    spans = [ChunkSpan(2 * n, 2 * n + 1, str(n), row_of(document * CHUNKS + n)) for n in range(CHUNKS)]
    registers = Registers.model_validate(state_to_wire(state))
    text = " ".join("abcdefgh"[:CHUNKS])
    entry = IndexEntry(
        index="docs",
        doc_id=key.doc_id,
        registers=registers,
        shown=True,
        metadata={"kind": tuple(name for name, share in SHARES.items() if (document + 1) % share == 0)},
        text=text,
        chunks=tuple(spans),
        source=SOURCE,
    )
    return LogKey("doc", str(key)).to_bytes(), entry.to_bytes()


@pytest.fixture(scope="module")
def stack(milvus_server: MilvusServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """20,000 rows in Milvus, their manifests in a view."""
    folder: Path = tmp_path_factory.mktemp("selective")
    made = np.random.default_rng(11).normal(size=(DOCUMENTS * CHUNKS + QUESTIONS, DIMENSION)).astype(np.float32)
    vectors = np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), dtype=np.float32)
    milvus = MilvusSettings(collection_prefix=f"t{folder.name.replace('-', '_')}", search_timeout_s=20.0)
    settings = Settings(data_dir=folder, milvus=milvus)
    collection = settings.collection("docs")
    store = MilvusStore(milvus, milvus_server.uri)
    store.ensure(collection, DIMENSION)
    numbers = range(DOCUMENTS * CHUNKS)
    rows = [Row(row_of(n), vectors[n], f"docs/d{n // CHUNKS}", lagging(n // CHUNKS), 0) for n in numbers]
    for start in range(0, len(rows), 2000):
        mark = store.upsert(collection, rows[start : start + 2000])
    store.wait_visible(collection, mark, 30.0)

    topics = settings.kafka.topics
    log = MemoryLog({topics.documents: 1, settings.index_topic: 1, topics.floors: 1})
    for document in range(DOCUMENTS):
        log.append(settings.index_topic, 0, *manifest(document))
    keywords = MemoryKeywordIndex()
    view = IndexView(settings, log, open_keyword=lambda _folder, _stamp: keywords)
    view.start()
    wait_until(lambda: view.ready().is_ready, within_s=120, what="the view")
    retriever = Retriever(settings, store, lambda: view.keyword, Directions(vectors[DOCUMENTS * CHUNKS :]))
    yield Stack(settings, view, retriever, vectors[: DOCUMENTS * CHUNKS], vectors[DOCUMENTS * CHUNKS :])
    retriever.close()
    view.stop()
    store.drop(collection)
    store.close()


def found(stack: Stack, question: int, group: str, **filters: Any) -> list[str]:
    """The ten nearest chunks that passed, as the vector arm has them."""
    request = QueryRequest(query_id="q", question=str(question), principals=(group,), filters=filters)
    query = Query(request, Deadline.after(30.0), principals_of((group,)), str(question), indexes=("docs",))
    asyncio.run(Gathering(stack.settings, stack.view, stack.retriever, lambda: NOW_MS).gather(query))
    assert query.degraded == []
    by_vector = [(chunk.vector_score, chunk.row_id) for chunk in query.chunks if chunk.vector_score is not None]
    return [row for _, row in sorted(by_vector, reverse=True)[:10]]


def check(stack: Stack, wanted: Sequence[int], group: str, **filters: Any) -> None:
    """Recall@10 against an exact search of `wanted` is at least 0.95, every result is full, and nothing else comes."""
    allowed = {row_of(number) for number in wanted}
    recalls = []
    for question in range(QUESTIONS):
        scores = stack.rows[wanted] @ stack.questions[question]
        best = {row_of(wanted[place]) for place in np.argsort(-scores)[:10]}
        rows = found(stack, question, group, **filters)
        assert len(rows) == 10
        assert set(rows) <= allowed
        recalls.append(len(best & set(rows)) / 10)
    assert np.mean(recalls) >= 0.95, f"recall@10 {np.mean(recalls):.3f} of {len(wanted)} rows"


@pytest.mark.parametrize("group", list(SHARES))
def test_recall_while_rows_lag(stack: Stack, group: str) -> None:
    """Callers who may read 100, 10, 1 %, while a third of all rows say what was true before grants and revocations."""
    check(stack, [n for n in range(DOCUMENTS * CHUNKS) if group in groups_of(n // CHUNKS)], group)


@pytest.mark.parametrize("kind", list(SHARES))
def test_recall_under_filters(stack: Stack, kind: str) -> None:
    """Filters that 100, 10, 1 % of the documents match."""
    wanted = [n for n in range(DOCUMENTS * CHUNKS) if (n // CHUNKS + 1) % SHARES[kind] == 0]
    check(stack, wanted, "group:all", kind=kind)
