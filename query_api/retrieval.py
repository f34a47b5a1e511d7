"""The two retrieval arms, side by side in threads: vectors and keywords. An arm that fails or is late is a value, not an end.

What they return are candidates; whether they may be shown is decided on the view (assembly.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import Final, Literal, NamedTuple, TypeVar

import structlog

from connectors.embedding.port import Embedder, Vector
from connectors.keyword.port import KeywordHit, KeywordIndex
from connectors.milvus.port import Hit, VectorStore
from connectors.reranking import Reranker, create_reranker
from query_api.answer.port import Passage
from query_api.deadline import Deadline
from query_api.questions import QuestionVectors
from query_api.reranking import Reranked, SecondLook
from schemas.acl import OPERATOR, Principals
from schemas.errors import Retryable
from schemas.index import DocKey
from schemas.queries import Degradation
from schemas.settings import Settings

SHARE_OF_DEADLINE: Final = 0.7
"""What an arm may take of the remaining time: the rest is for making an answer of what the other one found."""
SHARE_FOR_EMBEDDING: Final = 0.4
"""What a question's vector may take of it: without one it is routed by its words, and searched by keywords."""
KEYWORD_THREADS: Final = 4

ArmName = Literal["vector", "keyword"]
Problem = Literal["timeout", "unavailable", "failed"]
"""Why an arm found nothing; `failed` is a defect, see the log."""
DEGRADED: Final[Mapping[tuple[ArmName, Problem], Degradation]] = {
    ("vector", "timeout"): "vector_timeout",
    ("vector", "unavailable"): "vector_unavailable",
    ("vector", "failed"): "vector_failed",
    ("keyword", "timeout"): "keyword_timeout",
    ("keyword", "unavailable"): "keyword_unavailable",
    ("keyword", "failed"): "keyword_failed",
}

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Found(NamedTuple):
    """A candidate row of one arm."""

    row_id: str
    key: DocKey
    score: float


class Arm(NamedTuple):
    """What one arm found, best first.

    Attributes:
        error: why it found nothing; None: it worked.
        missing_indexes: indexes that could not be searched while others could.
    """

    name: ArmName
    found: Sequence[Found] = ()
    took_ms: float = 0.0
    error: Problem | None = None
    missing_indexes: tuple[str, ...] = ()

    @property
    def problem(self) -> Degradation | None:
        """`error` as answers say it."""
        return DEGRADED[self.name, self.error] if self.error is not None else None

    def scores(self) -> dict[str, float] | None:
        return None if self.error else {found.row_id: found.score for found in self.found}


class Retrieved(NamedTuple):
    """Both arms' candidates."""

    vector: Arm
    keyword: Arm

    def with_vectors_of(self, other: Retrieved) -> Retrieved:
        """These, and what the other's vector arm found besides."""
        rows = {found.row_id for found in self.vector.found}
        more = [found for found in other.vector.found if found.row_id not in rows]
        found = sorted([*self.vector.found, *more], key=lambda candidate: -candidate.score)
        return self._replace(vector=self.vector._replace(found=found))

    def keys(self) -> dict[str, DocKey]:
        """Each candidate row's document."""
        return {found.row_id: found.key for arm in self for found in arm.found}


class Search(NamedTuple):
    """What is looked for.

    Attributes:
        limit: candidates of each arm, and of each index of the vector arm.
        principals, now_ms: rows that say they are for others, or expired, are passed over by the vector arm. Rows lag behind what
            the view knows, so None is the rule: whoever it is, the nearest are fetched and the view decides.
    """

    question: str
    indexes: Sequence[str]
    limit: int
    principals: Principals | None = None
    now_ms: int = 0


class Retriever:
    """Owns the threads that wait for stores and models. `close` when no query runs.

    Args:
        reranker: in place of what the settings ask for.

    Raises: Misconfigured, when the settings want a reranker and name none.
    """

    def __init__(
        self,
        settings: Settings,
        vectors: VectorStore,
        keyword: Callable[[], KeywordIndex],
        embedder: Embedder,
        reranker: Reranker | None = None,
    ) -> None:
        self._settings = settings
        self._vectors = vectors
        self._keyword = keyword
        self._questions = QuestionVectors(embedder, settings.query.embed_wait_ms / 1000)
        reranker = reranker or create_reranker(settings.query)
        self._second_look = SecondLook(reranker, settings.query.rerank_candidates) if reranker is not None else None
        searching = settings.query.concurrency * 2
        self._vector_threads = ThreadPoolExecutor(searching, thread_name_prefix="vector")
        self._keyword_threads = ThreadPoolExecutor(KEYWORD_THREADS, thread_name_prefix="keyword")

    def load(self) -> None:
        """Have the reranker ready, where there is one, before anybody asks. Blocks. Raises: Misconfigured."""
        if self._second_look is not None:
            self._second_look.load()

    def close(self) -> None:
        self._questions.close()
        if self._second_look is not None:
            self._second_look.close()
        for threads in (self._vector_threads, self._keyword_threads):
            threads.shutdown(wait=False, cancel_futures=True)

    async def vector_of(self, question: str, deadline: Deadline) -> Vector | None:
        """The question's vector; None where the encoder failed or is late. Never raises but CancelledError.

        The same that `retrieve` searches with: who asks for it first has it made, the others get it from memory.
        """
        try:
            return await self._questions.vector_of(question, deadline.remaining_s * SHARE_FOR_EMBEDDING)
        except Exception as exc:
            _problem("embedding", exc)
            return None

    async def reranked(self, question: str, passages: Sequence[Passage], deadline: Deadline) -> Reranked:
        """`passages` in the reranker's order, where there is one. Never raises but CancelledError."""
        if self._second_look is None:
            return Reranked(list(passages))
        return await self._second_look.reranked(question, passages, deadline)

    async def retrieve(self, search: Search, deadline: Deadline) -> Retrieved:
        """Ask both arms for `search.limit` candidates. Never raises."""

        def nearest(vector: Vector, index: str, timeout_s: float) -> list[Hit]:
            principals = None if search.principals is None or OPERATOR in search.principals else search.principals
            collection = self._settings.collection(index)
            return self._vectors.search(collection, vector, search.limit, principals, search.now_ms, timeout_s)

        return await self._both(search, deadline, nearest, self._matching(search, None))

    async def retrieve_within(self, search: Search, rows: Mapping[str, DocKey], deadline: Deadline) -> Retrieved:
        """Ask both arms for the best of exactly these rows, for callers who may read little. Never raises."""
        by_index: dict[str, list[str]] = {}
        for row_id, key in rows.items():
            by_index.setdefault(key.index, []).append(row_id)

        def nearest(vector: Vector, index: str, timeout_s: float) -> list[Hit]:
            collection = self._settings.collection(index)
            return self._vectors.search_rows(collection, vector, by_index[index], search.limit, timeout_s)

        return await self._both(search._replace(indexes=tuple(by_index)), deadline, nearest, self._matching(search, rows))

    async def by_words(self, search: Search, rows: Mapping[str, DocKey] | None, deadline: Deadline) -> Arm:
        """The keyword arm alone, of everything or of exactly these rows, for who has the other one. Never raises."""
        limit_s = deadline.remaining_s * SHARE_OF_DEADLINE
        return await self._keyword_arm(self._matching(search, rows), Deadline.after(limit_s, deadline.clock))

    def _matching(self, search: Search, rows: Mapping[str, DocKey] | None) -> Callable[[], list[KeywordHit]]:
        if rows is None:
            return lambda: self._keyword().search(search.question, search.limit, search.indexes)
        keys = frozenset(rows.values())
        return lambda: self._keyword().search_within(search.question, search.limit, keys)

    async def _both(
        self,
        search: Search,
        deadline: Deadline,
        nearest: Callable[[Vector, str, float], list[Hit]],
        matching: Callable[[], list[KeywordHit]],
    ) -> Retrieved:
        limit_s = deadline.remaining_s * SHARE_OF_DEADLINE
        vector_s = min(limit_s, self._settings.milvus.search_timeout_s)
        vector, keyword = await asyncio.gather(
            self._vector_arm(search, nearest, Deadline.after(vector_s, deadline.clock)),
            self._keyword_arm(matching, Deadline.after(limit_s, deadline.clock)),
        )
        return Retrieved(vector, keyword)

    async def _vector_arm(self, search: Search, nearest: Callable[[Vector, str, float], list[Hit]], deadline: Deadline) -> Arm:
        began = perf_counter()
        try:
            vector = await self._questions.vector_of(search.question, deadline.remaining_s)
            searches = [self._search_index(nearest, vector, index, deadline) for index in search.indexes]
            by_index = dict(zip(search.indexes, await asyncio.gather(*searches), strict=True))
        except Exception as exc:
            return Arm("vector", (), _ms_since(began), _problem("embedding", exc))
        failed = {index: hits for index, hits in by_index.items() if isinstance(hits, str)}
        if failed and len(failed) == len(by_index):
            return Arm("vector", (), _ms_since(began), next(iter(failed.values())))
        hits = [hit for hits in by_index.values() if not isinstance(hits, str) for hit in hits]
        found = [Found(hit.row_id, DocKey.parse(hit.doc_key), hit.score) for hit in sorted(hits, key=lambda hit: -hit.score)]
        return Arm("vector", found, _ms_since(began), None, tuple(failed))

    async def _search_index(
        self, nearest: Callable[[Vector, str, float], list[Hit]], vector: Vector, index: str, deadline: Deadline
    ) -> list[Hit] | Problem:
        try:
            timeout_s = deadline.remaining_s
            return await self._within(self._vector_threads, timeout_s, lambda: nearest(vector, index, timeout_s))
        except Exception as exc:
            return _problem(f"vector search of {index}", exc)

    async def _keyword_arm(self, matching: Callable[[], list[KeywordHit]], deadline: Deadline) -> Arm:
        began = perf_counter()
        try:
            hits = await self._within(self._keyword_threads, deadline.remaining_s, matching)
        except Exception as exc:
            return Arm("keyword", (), _ms_since(began), _problem("keyword search", exc))
        return Arm("keyword", [Found(hit.row_id, hit.key, hit.score) for hit in hits], _ms_since(began))

    @staticmethod
    async def _within(threads: ThreadPoolExecutor, timeout_s: float, call: Callable[[], T]) -> T:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, call), timeout_s)


def _problem(what: str, exc: Exception) -> Problem:
    if isinstance(exc, TimeoutError):
        _log.warning("retrieval_late", what=what)
        return "timeout"
    if isinstance(exc, Retryable):
        _log.warning("retrieval_unavailable", what=what, error=str(exc))
        return "unavailable"
    _log.error("retrieval_failed", what=what, exc_info=exc)
    return "failed"


def _ms_since(began: float) -> float:
    return round((perf_counter() - began) * 1000, 3)
