"""Whether remembered evidence stands on a snapshot of the view for a caller, and its citations as they are now.

Meant for use inside one `with view.snapshot()` block: no awaiting between the check and what is made of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from query_api.answer.port import Passage
from query_api.cache.entry import Entry
from query_api.cache.evidence import Evidence, shown_digest
from query_api.view import ViewDocument, ViewSnapshot
from schemas.acl import Principals
from schemas.index import DocKey
from schemas.queries import Citation

Shows = Callable[[ViewDocument], bool]
"""Whether the request's own filters let a document through: metadata may change while the text stays."""


def stands(
    snapshot: ViewSnapshot,
    principals: Principals,
    now_ms: int,
    evidence: Iterable[Evidence],
    shows: Shows = lambda _: True,
) -> bool:
    """Whether every piece is current (same rows, same title and text), unexpired and readable by this caller."""
    seen: dict[DocKey, ViewDocument | None] = {}
    for one in evidence:
        if one.key not in seen:
            found = snapshot.document(one.key)
            is_shown = found is not None and snapshot.is_readable(found, principals, now_ms) and shows(found)
            seen[one.key] = found if is_shown else None
        document = seen[one.key]
        if document is None or not _is_same(document, one):
            return False
    return True


def restated(snapshot: ViewSnapshot, entry: Entry, passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """The citations of a remembered answer as of now: text is proved equal, version, score and staleness are today's.

    Args:
        snapshot: the one on which `stands` held.
        passages: what was retrieved for the question now; a passage that was not gets the score 0.
    """
    scores = {row: passage.score for passage in reversed(passages) for row in passage.row_ids}
    found = []
    for cited in entry.citations:
        one = entry.evidence[cited.evidence]
        document = snapshot.document(one.key)
        if document is None:
            msg = "citations are stated on the snapshot on which their evidence stood"
            raise AssertionError(msg)
        found.append(_citation(document, one, cited.number, max(scores.get(row, 0.0) for row in one.row_ids)))
    return tuple(found)


def _is_same(document: ViewDocument, one: Evidence) -> bool:
    if not all(row in document.rows for row in one.row_ids):
        return False
    return shown_digest(_title(document), document.entry.text[one.start : one.end]) == one.digest


def _title(document: ViewDocument) -> str:
    return document.entry.title or document.key.doc_id


def _citation(document: ViewDocument, one: Evidence, number: int, score: float) -> Citation:
    return Citation(
        number=number,
        index=one.key.index,
        doc_id=one.key.doc_id,
        title=_title(document),
        source_uri=document.entry.source_uri,
        version=document.version,
        chunk=min(document.rows[row] for row in one.row_ids),
        start=one.start,
        end=one.end,
        score=round(score, 6),
        text=document.entry.text[one.start : one.end],
        newest_version_failed=document.newest_version_failed,
    )
