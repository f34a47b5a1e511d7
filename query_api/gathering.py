"""Candidates of both arms, checked and assembled on one snapshot of the view, until enough of them pass."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from query_api.assembly import Reader, assemble
from query_api.cache.evidence import Evidence
from query_api.cache.standing import stands
from query_api.query import Ended, Query
from query_api.retrieval import Arm, Retrieved, Retriever, Search
from query_api.view import IndexView, ViewDocument, ViewSnapshot
from schemas.acl import OPERATOR, principals_of
from schemas.filters import matches
from schemas.index import DocKey
from schemas.settings import Settings

WANTED: Final = 10
"""Chunks of each arm that should pass the checks; a request for more passages wants as many as it asks for."""
KEPT: Final = 50
KEPT_A_PASSAGE: Final = 3
"""Chunks of which passages are made, in all and for each passage that is wanted: some say the same, some are joined."""
EXACT_ROWS: Final = 2_000
"""Where at most this many rows come into question, each of them is scored, if candidates don't suffice."""
CATCH_UP_S: Final = 1.0
CATCH_UP_SHARE: Final = 0.3
"""How long a question waits for the keyword index to take in what was edited a moment ago, where words alone would find that: so
many seconds, but no more than this share of the remaining time. A commit takes tens of milliseconds."""
CATCH_UPS: Final = 2
"""How often: it may be edited again meanwhile."""
SPARE: Final = 1.5
"""How many more candidates are fetched than would be enough if as many passed as before."""


class Step(NamedTuple):
    """What to ask of the arms.

    Attributes:
        limit: candidates of each.
        rows: the best of exactly these rows.
        trusts_rows: vectors of rows that say that this caller may read them: the last resort in a large corpus, where the
            caller's rows are too many to score each and too rare among the nearest.
    """

    limit: int
    rows: Mapping[str, DocKey] | None = None
    trusts_rows: bool = False


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
        # Before anything is read: never too fresh.
        query.reading, query.as_of, query.as_of_at = self._view.reading, self._view.as_of(), query.deadline.clock()
        query.withheld.clear()
        query.forget()
        step, before = Step(max(self._settings.query.candidates, query.request.passages)), None
        while True:
            with query.timings.step("retrieve"):
                retrieved = await self._fetch(query, step)
            if step.trusts_rows and before is not None:
                retrieved = before.with_vectors_of(retrieved)
            self._note_arms(query, retrieved)
            retrieved, following = await self._checked(query, retrieved, step)
            if following is None:
                await self._look_twice(query)
                return
            step, before = following, retrieved

    async def _look_twice(self, query: Query) -> None:
        with query.timings.step("rerank"):
            query.passages, problem = await self._retriever.reranked(query.question, query.passages, query.deadline)
        if problem is not None:
            query.degrade(problem)

    def reader(self, query: Query) -> Reader:
        """Who reads, now. With a view that may have missed a revocation only documents for everyone are served."""
        lag_s = self._view.access_lag_s()
        if lag_s is None or lag_s > self._settings.query.max_access_lag_s:
            query.degrade("access_lag")
            return Reader(principals_of(()), self._now_ms(), query.request.filters)
        return Reader(query.principals, self._now_ms(), query.request.filters)

    def stands(self, query: Query, evidence: Sequence[Evidence]) -> bool:
        """Whether what an answer rests on may be shown to this caller, as it was shown, on a fresh snapshot."""
        with query.timings.step("look_again"), self._view.snapshot() as snapshot:
            reader = self.reader(query)
            return stands(snapshot, reader.principals, reader.now_ms, evidence, shown_by(query))

    async def _fetch(self, query: Query, step: Step) -> Retrieved:
        search = Search(query.question, query.indexes, step.limit)
        if step.rows is not None:
            return await self._retriever.retrieve_within(search, step.rows, query.deadline)
        if step.trusts_rows:
            reader = self.reader(query)
            search = search._replace(principals=reader.principals, now_ms=reader.now_ms)
        return await self._retriever.retrieve(search, query.deadline)

    def _note_arms(self, query: Query, retrieved: Retrieved) -> None:
        query.retrieved = retrieved
        failed = [arm.name for arm in retrieved if arm.error]
        for arm in retrieved:
            if arm.problem is not None:
                query.degrade(arm.problem)
            elif arm.missing_indexes:  # the vector arm's alone: one keyword index holds them all
                query.degrade("vector_incomplete")
        if len(failed) == len(retrieved):
            raise Ended(
                outcome="failed",
                reason="retrieval_failed",
                error="neither vectors nor keywords could be searched; ask again in a moment",
            )
        query.mode = "hybrid" if not failed else "vector" if failed == ["keyword"] else "keyword"

    async def _checked(self, query: Query, retrieved: Retrieved, step: Step) -> tuple[Retrieved, Step | None]:
        """What passed, with the words searched again where an edit had overtaken the keyword index; and what to fetch next."""
        overtaken, following = self._check(query, retrieved, step)
        for _ in range(CATCH_UPS):
            if not overtaken:
                break
            with query.timings.step("retrieve"):
                limit_s = min(CATCH_UP_S, CATCH_UP_SHARE * query.deadline.remaining_s)
                if not await self._view.wait_searchable(overtaken, limit_s):
                    break
                search = Search(query.question, query.indexes, step.limit)
                arm = await self._retriever.by_words(search, step.rows, query.deadline)
            if arm.error:
                break  # what the first search found stands; that it lacks the edit is said below
            retrieved = retrieved._replace(keyword=arm)
            self._note_arms(query, retrieved)
            overtaken, following = self._check(query, retrieved, step)
        if overtaken:
            query.degrade("keyword_timeout")  # the earlier text is gone, the next one is not to be found yet
        return retrieved, following

    def require_same_reading(self, query: Query) -> None:
        """What was found and what was not is void once the view has begun anew, from nothing. Raises: Ended."""
        if query.reading is not None and query.reading == self._view.reading:
            return
        query.as_of = None
        reason = self._view.ready().reason or "the log was read anew meanwhile"
        raise Ended(outcome="failed", reason="view_not_ready", error=f"{reason}; ask again in a moment")

    def _check(self, query: Query, retrieved: Retrieved, step: Step) -> tuple[frozenset[DocKey], Step | None]:
        """Check and assemble on one snapshot, without awaiting. What was overtaken; what to fetch next where too few passed."""
        with query.timings.step("assemble"), self._view.snapshot() as snapshot:
            self.require_same_reading(query)  # not before the snapshot is taken
            reader = self.reader(query)
            vector, keyword = retrieved.vector.scores(), retrieved.keyword.scores()
            weight, size = self._settings.query.vector_weight, self._settings.query.passage_tokens
            most = max(KEPT, KEPT_A_PASSAGE * query.request.passages)
            found = assemble(snapshot, reader, retrieved.keys(), vector, keyword, weight, size, most)
            query.passages, query.chunks, query.passed, query.withheld, overtaken = found
            query.generation = snapshot.generation
            return overtaken, self._following(snapshot, reader, query, retrieved, step)

    def _following(self, snapshot: ViewSnapshot, reader: Reader, query: Query, retrieved: Retrieved, step: Step) -> Step | None:
        """More candidates where enough would pass, each row in question where those are few; None: enough, or all there is."""
        wanted = max(WANTED, query.request.passages)
        passed = [query.passed[arm.name] for arm in retrieved if not _is_whole(arm, step.limit)]
        least = min(passed, default=wanted)
        if step.rows is not None or step.trusts_rows or least >= wanted:
            return None
        most = self._settings.query.max_candidates
        needed = math.ceil(step.limit * SPARE * wanted / least) if least else most + 1
        if needed <= most:
            return Step(min(max(needed, 2 * step.limit), most))
        rows = snapshot.readable_rows(reader.principals, reader.now_ms, EXACT_ROWS, query.indexes, reader.filters)
        if rows is not None:
            return Step(step.limit, rows)
        if step.limit < most:
            return Step(most)
        return Step(step.limit, trusts_rows=True) if OPERATOR not in reader.principals and not reader.filters else None


def _is_whole(arm: Arm, limit: int) -> bool:
    """Whether the arm gave all that it has; a failed one has nothing more either."""
    if arm.error:
        return True
    by_index = Counter(found.key.index for found in arm.found) if arm.name == "vector" else Counter({"": len(arm.found)})
    return all(count < limit for count in by_index.values())
