"""The checks of a candidate, and passages made of those that passed: on one snapshot of the view, without awaiting.

What stores return are guesses; the view decides. A candidate counts only if its row belongs to the one current revision of its
document (so no answer mixes versions), the document has not expired, this caller may read it, and the request's filters hold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from typing import Literal, NamedTuple

from query_api.answer import Passage
from query_api.fusion import Fused, fuse
from query_api.joining import readable
from query_api.view import ViewDocument, ViewSnapshot
from query_api.view.snapshot import NO_FILTERS
from schemas.acl import Principals
from schemas.filters import Filter, matches
from schemas.index import DocKey

Withheld = Literal["gone", "superseded", "expired", "not_readable", "filtered"]
"""Why a candidate was dropped. Counts are for operators: they tell of documents that a caller may not read."""

Scores = Mapping[str, float]
"""One arm's scores by row id."""


class Reader(NamedTuple):
    """On whose behalf, when, and of which documents by their metadata."""

    principals: Principals
    now_ms: int
    filters: Mapping[str, Filter] = NO_FILTERS


class Assembly(NamedTuple):
    """What passed, best first.

    Attributes:
        passages: to be read: neighbours joined, repetitions folded. chunks: what they were made of, each a passage of its own.
        passed: how many candidates of each arm passed.
        withheld: how many candidates did not pass, by reason.
        overtaken: documents that this caller may read, of which words found a revision that is no more, and nothing its next.
    """

    passages: list[Passage]
    chunks: list[Passage]
    passed: dict[str, int]
    withheld: Counter[str]
    overtaken: frozenset[DocKey]


class _Checks:
    """Looks each document up once."""

    def __init__(self, snapshot: ViewSnapshot, reader: Reader) -> None:
        self._snapshot = snapshot
        self._reader = reader
        self._seen: dict[DocKey, ViewDocument | Withheld] = {}

    def document(self, key: DocKey) -> ViewDocument | Withheld:
        if key not in self._seen:
            self._seen[key] = self._look_up(key)
        return self._seen[key]

    def row(self, row_id: str, key: DocKey) -> ViewDocument | Withheld:
        document = self.document(key)
        if isinstance(document, str) or row_id in document.rows:
            return document
        return "superseded"

    def _look_up(self, key: DocKey) -> ViewDocument | Withheld:
        document = self._snapshot.document(key)
        if document is None:
            return "gone"
        if self._snapshot.is_readable(document, self._reader.principals, self._reader.now_ms):
            return document if matches(self._reader.filters, document.entry.metadata) else "filtered"
        return "expired" if document.is_expired(self._reader.now_ms) else "not_readable"


def assemble(
    snapshot: ViewSnapshot,
    reader: Reader,
    keys: Mapping[str, DocKey],
    vector: Scores | None,
    keyword: Scores | None,
    vector_weight: float,
    passage_tokens: int = 0,
    most: int | None = None,
) -> Assembly:
    """Check every candidate, fuse the scores of those that passed (the scale must not tell of the others), and join neighbours.

    A deep search is worth its candidates for the order that they bring the best ones into; the others end here.

    Args:
        keys: each candidate row's document.
        vector, keyword: the arms' scores; None for an arm that failed.
        passage_tokens: neighbours are joined up to this size.
        most: of so many of the best chunks passages are made; None: of all.
    """
    checks = _Checks(snapshot, reader)
    passed: dict[str, ViewDocument] = {}
    withheld: Counter[str] = Counter()
    superseded: set[str] = set()
    for row_id, key in keys.items():
        found = checks.row(row_id, key)
        if isinstance(found, str):
            withheld[found] += 1
            if found == "superseded":
                superseded.add(row_id)
        else:
            passed[row_id] = found
    by_vector, by_keyword = _of(vector, passed), _of(keyword, passed)
    ranked = fuse(by_vector, by_keyword, vector_weight)[:most]
    chunks = [_passage(candidate, passed[candidate.key]) for candidate in ranked]
    texts = {document.key: document.entry.text for document in passed.values()}
    counts = {"vector": len(by_vector or ()), "keyword": len(by_keyword or ())}
    overtaken = _overtaken(keys, by_vector or {}, keyword or {}, passed, superseded, most) if superseded else frozenset()
    return Assembly(readable(chunks, texts.__getitem__, passage_tokens), chunks, counts, withheld, overtaken)


def _overtaken(
    keys: Mapping[str, DocKey],
    by_vector: Scores,
    keyword: Scores,
    passed: Mapping[str, ViewDocument],
    superseded: Set[str],
    most: int | None,
) -> frozenset[DocKey]:
    """Documents whose superseded rows stand among the `most` that words found best, with nothing in their place.

    The keyword index takes in a new revision a moment after the view shows it, and meanwhile finds the old one's rows only. A
    current row that vectors found and words did not is taken for what came in the place of these.
    """
    replaced = {keys[row_id] for row_id in by_vector if row_id not in keyword}
    overtaken, room = set(), len(keyword) if most is None else most
    for row_id in keyword:
        if room == 0:
            break
        if row_id in passed:
            room -= 1
        elif row_id in superseded and keys[row_id] not in replaced:
            overtaken.add(keys[row_id])
    return frozenset(overtaken)


def _of(scores: Scores | None, passed: Mapping[str, ViewDocument]) -> Scores | None:
    return None if scores is None else {row_id: score for row_id, score in scores.items() if row_id in passed}


def _passage(candidate: Fused[str], document: ViewDocument) -> Passage:
    position = document.rows[candidate.key]
    span = document.chunks[position]
    return Passage(
        doc_key=document.key,
        row_id=candidate.key,
        title=document.entry.title or document.key.doc_id,
        source_uri=document.entry.source_uri,
        version=document.version,
        chunk=position,
        start=span.start,
        end=span.end,
        text=document.passage(position),
        score=candidate.score,
        vector_score=candidate.vector,
        keyword_score=candidate.keyword,
        is_stale=document.newest_version_failed,
    )
