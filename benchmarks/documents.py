"""What is ingested: documents of an edit history, or the shipped help centre repeated with distinct texts."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from pathlib import Path

from ragstream.corpus import articles
from schemas.documents import DocumentChange, InlineText


def live_documents(history: Path | None, count: int) -> list[DocumentChange]:
    """`count` documents with texts of their own: a history's last revisions, newest first; else made of the help centre."""
    texts = dict(_last_revisions(history)) if history is not None else dict(_help_centre(count))
    return [_upsert(name, text) for name, text in list(texts.items())[:count]]


def _upsert(doc_id: str, text: str) -> DocumentChange:
    return DocumentChange(op="upsert", doc_id=doc_id, acl=("*",), content=InlineText(text=text))


def _last_revisions(history: Path) -> Iterator[tuple[str, str]]:
    last: dict[str, str] = {}
    for event in _events(history):
        last.pop(event["path"], None)
        if event["op"] == "upsert" and event["content"].strip():
            last[event["path"]] = event["content"]
    yield from reversed(last.items())


def _events(history: Path) -> Iterator[dict[str, str]]:
    with lzma.open(history, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _help_centre(count: int) -> Iterator[tuple[str, str]]:
    """Each copy names another branch in every paragraph, so that no two chunks are the same text."""
    originals = list(articles().values())
    for number in range(count):
        article, copy = originals[number % len(originals)], number // len(originals)
        marked = "\n\n".join(f"{part} (branch {copy})" if part.strip() else part for part in article.text.split("\n\n"))
        yield f"{article.doc_id}/{copy}", marked
