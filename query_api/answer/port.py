"""The port between retrieval and answering: passages in, a draft out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from query_api.deadline import Deadline
from schemas.index import DocKey
from schemas.queries import Citation


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that passed every check and may be shown to this caller.

    Attributes:
        chunk: position in its document, from 0. text: characters `start` to `end` of the document's parsed text.
        score: the fused score. vector_score, keyword_score: the arms' own, None where an arm did not find it.
        is_stale: the document's newest version could not be processed; this is an older text.
    """

    doc_key: DocKey
    row_id: str
    title: str
    source_uri: str | None
    version: int
    chunk: int
    start: int
    end: int
    text: str
    score: float
    vector_score: float | None = None
    keyword_score: float | None = None
    is_stale: bool = False

    def citation(self, number: int) -> Citation:
        return Citation(
            number=number,
            index=self.doc_key.index,
            doc_id=self.doc_key.doc_id,
            title=self.title,
            source_uri=self.source_uri,
            version=self.version,
            chunk=self.chunk,
            start=self.start,
            end=self.end,
            score=round(self.score, 6),
            text=self.text,
            newest_version_failed=self.is_stale,
        )


class Draft(NamedTuple):
    """An answer's text, with [n] where it rests on citation n. An empty text: nothing could be said."""

    text: str
    citations: tuple[Citation, ...]


class Answerer(Protocol):
    """Makes an answer of passages."""

    async def answer(self, question: str, passages: Sequence[Passage], deadline: Deadline) -> Draft:
        """A draft that rests on `passages` (best first) alone; every citation is one of them.

        Called only with evidence that supports an answer. Must not block the event loop for more than milliseconds and
        must return before `deadline`.
        """
        ...
