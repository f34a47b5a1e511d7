"""Candidates of both arms, checked and assembled on one snapshot of the view, until enough of them pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from query_api.assembly import Reader, assemble
from query_api.cache.evidence import Evidence
from query_api.cache.standing import stands
from query_api.query import Ended, Query
from query_api.retrieval import Retrieved, Retriever, Search
from query_api.view import IndexView, ViewDocument, ViewSnapshot
from schemas.acl import principals_of
from schemas.filters import matches
from schemas.index import DocKey
from schemas.settings import Settings

WANTED: Final = 10
"""Passages that should pass the checks; a request for more wants as many as it asks for."""
EXACT_ROWS: Final = 2_000
"""A caller who may read at most this many rows gets each of them scored, where candidates don't suffice."""


class _Step(NamedTuple):
    """What to ask of the arms: this many candidates, or the best of exactly these rows."""

    limit: int
    rows: Mapping[str, DocKey] | None = None


def shown_by(query: Query) -> Callable[[ViewDocument], bool]:
    """Whether a document passes the request's own filters."""
    filters = query.request.filters
    return lambda document: not filters or matches(filters, document.entry.metadata)


class Gathering:
    """Finds a query's evidence. What the stores return are guesses; the snapshot decides."""

    def __init__(self, settings: Settings, view: IndexView, retriever: Retriever, now_ms: Callable[[], int]) -> None:
        self._settings = settings
        self._view = view
        self._retriever = retriever
        self._now_ms = now_ms

    async def gather(self, query: Query) -> None:
        """Fill in the passages that this caller may be shown, best first. Raises: Ended, when no arm could search."""
        query.as_of, query.as_of_at = self._view.as_of(), query.deadline.clock()  # before anything is read: never too fresh
        query.withheld.clear()
        query.passages = []
        step = _Step(max(self._settings.query.candidates, query.request.passages))
        while True:
            with query.timings.step("retrieve"):
                retrieved = await self._fetch(query, step)
            self._note_arms(query, retrieved)
            following = self._check(query, retrieved, step)
            if following is None:
                return
            step = following

    def reader(self, query: Query) -> Reader:
        """Who reads, now. With a view that may have missed a revocation only documents for everyone are served."""
        lag_s = self._view.access_lag_s()
        if lag_s is None or lag_s > self._settings.query.max_access_lag_s:
            query.degrade("access_lag")
            return Reader(principals_of(()), self._now_ms())
        return Reader(query.principals, self._now_ms())

    def stands(self, query: Query, evidence: Sequence[Evidence]) -> bool:
        """Whether what an answer rests on may be shown to this caller, as it was shown, on a fresh snapshot."""
        with query.timings.step("look_again"), self._view.snapshot() as snapshot:
            reader = self.reader(query)
            return stands(snapshot, reader.principals, reader.now_ms, evidence, shown_by(query))

    async def _fetch(self, query: Query, step: _Step) -> Retrieved:
        reader = self.reader(query)
        search = Search(query.question, query.indexes, reader.principals, reader.now_ms, step.limit)
        if step.rows is not None:
            return await self._retriever.retrieve_within(search, step.rows, query.deadline)
        return await self._retriever.retrieve(search, query.deadline)

    def _note_arms(self, query: Query, retrieved: Retrieved) -> None:
        query.retrieved = retrieved
        failed = [arm.name for arm in retrieved if arm.error]
        for arm in retrieved:
            if arm.error:
                query.degrade(f"{arm.name}_{arm.error}")
            elif arm.missing_indexes:
                query.degrade(f"{arm.name}_incomplete")
        if len(failed) == len(retrieved):
            raise Ended(
                outcome="failed",
                reason="retrieval_failed",
                error="neither vectors nor keywords could be searched; ask again in a moment",
            )
        query.mode = "hybrid" if not failed else "vector" if failed == ["keyword"] else "keyword"

    def _check(self, query: Query, retrieved: Retrieved, step: _Step) -> _Step | None:
        """Check and assemble on one snapshot, without awaiting; what to fetch next where too few passed."""
        with query.timings.step("assemble"), self._view.snapshot() as snapshot:
            reader = self.reader(query)
            vector, keyword = retrieved.vector.scores(), retrieved.keyword.scores()
            weight = self._settings.query.vector_weight
            query.passages, query.withheld = assemble(snapshot, reader, retrieved.keys(), vector, keyword, weight)
            query.generation = snapshot.generation
            return self._following(snapshot, reader, query, retrieved, step)

    def _following(self, snapshot: ViewSnapshot, reader: Reader, query: Query, retrieved: Retrieved, step: _Step) -> _Step | None:
        wanted = max(WANTED, query.request.passages)
        by_vector = {passage.row_id for passage in query.passages if passage.vector_score is not None}
        by_keyword = [passage for passage in query.passages if passage.keyword_score is not None]
        vector_lacks = not retrieved.vector.error and len(by_vector) < wanted
        is_keyword_whole = len(retrieved.keyword.found) < step.limit
        keyword_lacks = not retrieved.keyword.error and len(by_keyword) < wanted and not is_keyword_whole
        if step.rows is not None or not (vector_lacks or keyword_lacks):
            return None
        rows = snapshot.readable_rows(reader.principals, reader.now_ms, EXACT_ROWS, query.indexes)
        if rows is not None:
            return _Step(step.limit, rows) if keyword_lacks or not rows.keys() <= by_vector else None
        is_vector_whole = len(retrieved.vector.found) < step.limit
        if step.limit >= self._settings.query.max_candidates or not (keyword_lacks or (vector_lacks and not is_vector_whole)):
            return None
        return _Step(min(2 * step.limit, self._settings.query.max_candidates))
