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


def history_changes(history: Path) -> Iterator[DocumentChange]:
    """Every event of the history, in order, as what it asks for."""
    for number, event in enumerate(_events(history)):
        stamp = f"2020-01-01T00:00:00.{number % 1000:03d}Z"
        if event["op"] == "delete":
            yield DocumentChange.model_validate({"op": "delete", "doc_id": event["path"], "version": number, "event_time": stamp})
        else:
            yield _upsert(event["path"], event["content"]).model_copy(update={"version": number})


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
