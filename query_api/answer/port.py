"""The port between retrieval and answering: passages in, a draft out, its text in pieces while it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from query_api.deadline import Deadline
from schemas.errors import RagError
from schemas.index import DocKey
from schemas.queries import Citation, Degradation, Message, Usage

EXTRACTIVE = "extractive"


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document that passed every check and may be shown to this caller: one chunk, or neighbours joined.

    Attributes:
        row_id: of its best chunk. row_ids: of all its chunks, in the order of the document; evidence is compared by them.
        chunk: position of its first chunk in its document, from 0. text: characters `start` to `end` of the document's text.
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
    row_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.row_ids:
            object.__setattr__(self, "row_ids", (self.row_id,))

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


class Asking(NamedTuple):
    """What an answerer works on.

    Attributes:
        question: standalone: it can be understood without the conversation.
        passages: what `select` chose, best first. The answer rests on them alone.
        history: earlier turns of the conversation, oldest first.
        max_tokens, temperature: as the request has them; None: as the settings have them.
    """

    question: str
    passages: Sequence[Passage]
    history: Sequence[Message] = ()
    max_tokens: int | None = None
    temperature: float | None = None


class Draft(NamedTuple):
    """An answer's text, with [n] where it rests on citation n. An empty text: nothing could be said.

    Attributes:
        degraded: what went wrong on the way, as codes: `fallback_model`, `model_retried`.
        invented_citations: markers in the model's text that no passage stands behind; they were removed.
        is_cut: the text ends because it reached its longest length.
    """

    text: str
    citations: tuple[Citation, ...]
    usage: Usage = Usage(model=EXTRACTIVE)
    degraded: tuple[Degradation, ...] = ()
    invented_citations: int = 0
    is_cut: bool = False


Emit = Callable[[str], Awaitable[None]]
"""Takes the next piece of the text. The pieces of an answer, joined, are its draft's text."""


class GenerationFailed(RagError):
    """No model gave a whole answer in time. The caller says so with the passages found.

    Attributes:
        reason: as the answer says it; `model_interrupted`: after text had been emitted.
    """

    def __init__(self, reason: Degradation, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class Answerer(Protocol):
    """Makes an answer of passages."""

    @property
    def fingerprint(self) -> str:
        """Equal for equal answers to equal questions and passages: model, template, settings. Part of the answer cache's key."""
        ...

    def select(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        """The passages that go into the prompt, of `passages` (best first): fitted to its room, weak ones cut. Pure, fast."""
        ...

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        """A draft that rests on `asking.passages` alone; every citation is one of them. `emit` gets its text as it is made.

        Called only with evidence that supports an answer. Must not block the event loop for more than milliseconds, and must
        return or raise before `deadline`. Cancelled: it stops at once, and stops what it asked for elsewhere.
        What `emit` raises ends it.

        Raises: GenerationFailed.
        """
        ...
