"""What an answer rests on: the passages of its prompt, as far as they must be the same for it to be the same answer. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from query_api.answer.port import Passage
from schemas.index import DocKey

DIGEST_BYTES = 16


class Evidence(NamedTuple):
    """One passage that went into a prompt.

    Attributes:
        key: its document. row_ids: the chunks it is made of; a row id names one text of one revision for ever.
        start, end: its place in the document's text.
        digest: of title and text as the prompt showed them: a title may change without the rows.
    """

    key: DocKey
    row_ids: tuple[str, ...]
    start: int
    end: int
    digest: str

    def to_wire(self) -> list[Any]:
        return [self.key.index, self.key.doc_id, list(self.row_ids), self.start, self.end, self.digest]

    @classmethod
    def from_wire(cls, wire: Sequence[Any]) -> Evidence:
        """Raises: ValueError, TypeError, for what `to_wire` did not make."""
        index, doc_id, row_ids, start, end, digest = wire
        if not all(isinstance(text, str) for text in (index, doc_id, digest, *row_ids)) or not row_ids:
            msg = "an evidence has texts for names and at least one row"
            raise ValueError(msg)
        return cls(DocKey(index, doc_id), tuple(row_ids), int(start), int(end), digest)


def evidence_of(passage: Passage) -> Evidence:
    """What of `passage` an answer rests on."""
    shown = shown_digest(passage.title, passage.text)
    return Evidence(passage.doc_key, passage.row_ids, passage.start, passage.end, shown)


def evidence_of_all(passages: Iterable[Passage]) -> tuple[Evidence, ...]:
    """In the prompt's order."""
    return tuple(evidence_of(passage) for passage in passages)


def shown_digest(title: str, text: str) -> str:
    """Of what a prompt shows of a passage."""
    return digest_of(title, text)


def rows_of(evidence: Iterable[Evidence]) -> frozenset[str]:
    """Every row that `evidence` is made of."""
    return frozenset(row for one in evidence for row in one.row_ids)


def scope_of(
    *,
    generation: str,
    indexes: Sequence[str],
    filters: Mapping[str, Any],
    fingerprint: str,
    passages: int,
    max_tokens: int | None,
    temperature: float | None,
) -> str:
    """A digest of all that must be equal, whatever the questions are, for an answer to serve twice."""
    parts = [generation, sorted(set(indexes)), filters, fingerprint, passages, max_tokens, temperature]
    return hashlib.sha256(orjson.dumps(parts, default=_plain, option=orjson.OPT_SORT_KEYS)).hexdigest()[: 2 * DIGEST_BYTES]


def digest_of(*parts: str) -> str:
    """Of texts, in order; no two lists of texts are confused."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[: 2 * DIGEST_BYTES]


def _plain(value: object) -> object:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, (tuple, set, frozenset)):
        return list(value)
    msg = f"a scope can't hold {type(value).__name__}"
    raise TypeError(msg)
