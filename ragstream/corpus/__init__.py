"""The demo corpus: the help centre of a bank that does not exist, and a year of its edits.

`articles/` and `retired/` hold each article's final text, `history.jsonl` what was changed when (history.py explains it).
Reads package data only; publishing it is somebody else's job.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import Any

from ragstream.corpus.help_article import Article, parse_article
from ragstream.corpus.history import parse_history, replay

__all__ = ["Article", "article", "articles", "changes"]

_LIVE = "articles"
_RETIRED = "retired"
_HISTORY = "history.jsonl"


def articles() -> dict[str, Article]:
    """The live articles by doc_id, as they stand after the last change."""
    return _read(_LIVE)


def article(doc_id: str) -> Article:
    """One live article. Raises: KeyError, when there is none of that name."""
    return _read(_LIVE)[doc_id]


def changes() -> Iterator[dict[str, Any]]:
    """The whole history, oldest first, as `DocumentChange` JSON objects. The same at every call."""
    raw = (resources.files(__name__) / _HISTORY).read_text(encoding="utf-8")
    yield from replay(parse_history(raw), _read(_LIVE) | _read(_RETIRED))


def _read(folder: str) -> dict[str, Article]:
    found: dict[str, Article] = {}
    for category in (resources.files(__name__) / folder).iterdir():
        for file in category.iterdir():
            doc_id = f"{category.name}/{file.name.removesuffix('.md')}"
            found[doc_id] = parse_article(doc_id, file.read_text(encoding="utf-8"))
    return dict(sorted(found.items()))
