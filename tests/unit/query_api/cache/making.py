"""Lookups, evidence and drafts with defaults."""

from __future__ import annotations

import hashlib

import numpy as np

from connectors.embedding.port import Vector
from query_api.answer import Draft
from query_api.cache import AnswerCache, Evidence, Lookup
from query_api.cache.evidence import shown_digest
from schemas.index import DocKey
from schemas.queries import Citation

TITLE = "A title"


def vector(*weights: float) -> Vector:
    made = np.array(weights or (1.0, 0.0, 0.0), np.float32)
    return made / np.float32(np.linalg.norm(made))


def evidence(doc_id: str, text: str = "A text.", row: str = "") -> Evidence:
    row = row or hashlib.sha256(f"{doc_id}/{text}".encode()).hexdigest()[:16]
    return Evidence(DocKey("docs", doc_id), (row,), 0, len(text), shown_digest(TITLE, text))


def lookup(question: str = "How do I freeze my card?", *docs: str, at: Vector | None = None, scope: str = "s" * 32) -> Lookup:
    return Lookup(question, at if at is not None else vector(), scope, tuple(evidence(doc) for doc in docs or ("a", "b")))


def citing(one: Evidence, number: int = 1) -> Citation:
    return Citation(
        number=number,
        index=one.key.index,
        doc_id=one.key.doc_id,
        title=TITLE,
        version=1,
        chunk=0,
        start=one.start,
        end=one.end,
        score=1.0,
        text="A text.",
    )


def draft(of: Lookup, text: str = "Tap Freeze. [1]") -> Draft:
    return Draft(text, (citing(of.evidence[0]),))


def make_cache(threshold: float = 0.8, **over: object) -> AnswerCache:
    given = {"max_entries": 100, "ttl_s": 60.0, "barred_ttl_s": 600.0, "threshold": lambda: threshold} | over
    return AnswerCache(**given)  # type: ignore[arg-type]
