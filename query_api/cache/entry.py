"""A remembered answer, what is looked for, and the bytes that a shared store keeps of it. JSON, never pickled."""

from __future__ import annotations

import base64
import unicodedata
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import orjson

from connectors.embedding.port import Vector
from query_api.answer.port import Draft
from query_api.cache.evidence import Evidence, digest_of
from schemas.queries import MAX_QUESTION_LENGTH, Usage

FORMAT: Final = 1
"""Of the bytes. What says another number is ignored: workers of two releases may share a store."""
MAX_TEXT: Final = 256_000
MAX_EVIDENCE: Final = 256
_BAR_CHARACTERS: Final = 32


class Lookup(NamedTuple):
    """A question, and what it would be answered from now.

    Attributes:
        question: standalone. vector: its embedding, of length 1.
        scope: of `scope_of`.
        evidence: the passages that would go into the prompt now, best first.
    """

    question: str
    vector: Vector
    scope: str
    evidence: tuple[Evidence, ...]

    @property
    def entry_id(self) -> str:
        """Of the answer to this question from this evidence in this scope. Its beginning doesn't depend on the scope."""
        evidence = sorted(f"{one.digest}/{'/'.join(one.row_ids)}" for one in self.evidence)
        return digest_of(normalised(self.question), *evidence) + self.scope[:16]


class Cited(NamedTuple):
    """A [n] of a remembered text, and which of its evidence stands behind it."""

    number: int
    evidence: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A remembered answer.

    Attributes:
        id: `Lookup.entry_id` of the question it was made for.
        text: with its [n]. citations: what they stand for; versions and scores are stated anew when it is used.
        evidence: every passage of its prompt, cited or not, in the prompt's order.
        created_ms: by the wall clock of the worker that made it.
    """

    id: str
    question: str
    vector: Vector
    scope: str
    evidence: tuple[Evidence, ...]
    text: str
    citations: tuple[Cited, ...]
    usage: Usage
    created_ms: int

    @property
    def bar_key(self) -> str:
        return bar_key(self.id)

    def to_bytes(self) -> bytes:
        return orjson.dumps(
            {
                "format": FORMAT,
                "id": self.id,
                "question": self.question,
                "vector": base64.b64encode(self.vector.astype("<f4").tobytes()).decode(),
                "scope": self.scope,
                "evidence": [one.to_wire() for one in self.evidence],
                "text": self.text,
                "citations": [list(cited) for cited in self.citations],
                "usage": self.usage.model_dump(mode="json"),
                "created_ms": self.created_ms,
            }
        )

    @classmethod
    def from_bytes(cls, raw: bytes) -> Entry:
        """Raises: ValueError, for what `to_bytes` of this release did not make."""
        try:
            return cls._from_wire(orjson.loads(raw))
        except (KeyError, TypeError, IndexError, AttributeError) as exc:
            msg = f"not a remembered answer: {exc!r}"
            raise ValueError(msg) from exc

    @classmethod
    def _from_wire(cls, wire: dict[str, object]) -> Entry:
        if wire["format"] != FORMAT:
            msg = f"a remembered answer of format {wire['format']!r}; this release knows {FORMAT}"
            raise ValueError(msg)
        vector: Vector = np.frombuffer(base64.b64decode(str(wire["vector"]), validate=True), dtype="<f4").astype(np.float32)
        evidence = tuple(Evidence.from_wire(one) for one in wire["evidence"])  # type: ignore[attr-defined]
        citations = tuple(Cited(int(number), int(place)) for number, place in wire["citations"])  # type: ignore[attr-defined]
        entry = cls(
            id=str(wire["id"]),
            question=str(wire["question"]),
            vector=vector,
            scope=str(wire["scope"]),
            evidence=evidence,
            text=str(wire["text"]),
            citations=citations,
            usage=Usage.model_validate(wire["usage"]),
            created_ms=int(wire["created_ms"]),  # type: ignore[call-overload]
        )
        if not entry._is_sound():
            msg = "a remembered answer that contradicts itself"
            raise ValueError(msg)
        return entry

    def _is_sound(self) -> bool:
        """Whether it could have been made by `remember`: another hand's entry must not slip past the checks."""
        own_id = Lookup(self.question, self.vector, self.scope, self.evidence).entry_id
        is_sized = 0 < len(self.text) <= MAX_TEXT and 0 < len(self.evidence) <= MAX_EVIDENCE
        is_cited = all(0 <= cited.evidence < len(self.evidence) for cited in self.citations)
        is_vector = self.vector.size > 0 and bool(np.isfinite(self.vector).all())
        return own_id == self.id and is_sized and is_cited and is_vector and len(self.question) <= MAX_QUESTION_LENGTH * 4


def made_of(lookup: Lookup, draft: Draft, now_ms: int) -> Entry | None:
    """The entry that remembers `draft`; None for a draft that must not be used twice: degraded, cut, empty, without evidence."""
    is_whole = bool(draft.text) and not draft.degraded and not draft.is_cut
    if not is_whole or not lookup.evidence or len(lookup.evidence) > MAX_EVIDENCE or len(draft.text) > MAX_TEXT:
        return None
    places = {(one.key.index, one.key.doc_id, one.start, one.end): place for place, one in enumerate(lookup.evidence)}
    cited: list[Cited] = []
    for citation in draft.citations:
        place = places.get((citation.index, citation.doc_id, citation.start, citation.end))
        if place is None:
            return None  # it cites what was not in the prompt: nothing to verify it by
        cited.append(Cited(citation.number, place))
    return Entry(
        id=lookup.entry_id,
        question=lookup.question,
        vector=lookup.vector,
        scope=lookup.scope,
        evidence=lookup.evidence,
        text=draft.text,
        citations=tuple(cited),
        usage=draft.usage,
        created_ms=now_ms,
    )


def normalised(question: str) -> str:
    """One question in two spacings. Case stays: `US` is not `us`; so do signs: `10²` is not `102`."""
    return " ".join(unicodedata.normalize("NFC", question).split())


def bar_key(entry_id: str) -> str:
    """Of the (question, evidence) that an entry answers, whatever its scope."""
    return entry_id[:_BAR_CHARACTERS]
