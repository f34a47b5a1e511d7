"""Passages for tests of the prompt."""

from __future__ import annotations

from query_api.answer import Passage
from schemas.index import DocKey


def passage(text: str, *, score: float = 1.0, title: str = "Cards", doc: str = "d") -> Passage:
    return Passage(DocKey("docs", doc), f"row-{doc}-{len(text)}", title, None, 1, 0, 0, len(text), text, score)
