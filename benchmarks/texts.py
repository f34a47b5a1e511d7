"""What the read path is asked of: about 20,000 chunks of two kinds of text, and questions of which no two are the same."""

from __future__ import annotations

import json
import lzma
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from benchmarks.documents import live_documents
from schemas.acl import EVERYONE
from schemas.documents import DocumentChange, InlineText

HELP_CENTRE_COPIES: Final = 4_000
"""Documents made of the help centre where no data set is at hand: about 20,000 chunks."""
SENTENCES: Final = 3
SHORTEST, LONGEST = 40, 300
"""Characters of a sentence that may pass for a question."""
QUESTIONS: Final = Path(__file__).parent / "questions" / "milvus.txt"


def corpus(history: Path | None, scifact: Path | None, *, most: int | None = None) -> list[DocumentChange]:
    """Last revisions of the history and SciFact's abstracts, readable by everyone; the help centre repeated where neither is.

    Args:
        most: documents of each kind, at most.
    """
    documents = live_documents(history, most or 10**6) if history is not None else []
    if scifact is not None:
        documents += [abstract for abstract, _ in zip(_abstracts(scifact), range(most or 10**6), strict=False)]
    return documents or live_documents(None, most or HELP_CENTRE_COPIES)


def _abstracts(scifact: Path) -> Iterator[DocumentChange]:
    with lzma.open(scifact / "corpus.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            text = f"# {document['title']}\n\n{document['text']}"
            yield DocumentChange(op="upsert", doc_id=f"scifact/{document['_id']}", acl=(EVERYONE,), content=InlineText(text=text))


def distinct_questions(scifact: Path | None, documents: list[DocumentChange]) -> list[str]:
    """Claims and questions that people wrote, titles of the documents in turns with them, then sentences. No two the same."""
    asked: list[str] = QUESTIONS.read_text().splitlines() if QUESTIONS.is_file() else []
    if scifact is not None:
        with (scifact / "queries.test.jsonl").open(encoding="utf-8") as lines:
            asked += [json.loads(line)["text"] for line in lines]
    # The two kinds take turns: a stretch of one kind would be another measurement than a stretch of the other.
    sentences = [sentence for document in documents for sentence in _sentences(document)]
    return _distinct(chain(_in_turns(asked, titles_of(documents)), sentences))


def titles_of(documents: list[DocumentChange]) -> list[str]:
    """Questions that the documents surely answer."""
    return _distinct(iter([title for document in documents if (title := _title(document))]))


def _sentences(document: DocumentChange) -> list[str]:
    """The first sentences of running text: as good as claims, and many."""
    if not isinstance(document.content, InlineText):
        return []
    text = document.content.text.partition("\n\n")[2]
    found = [sentence.strip() for sentence in text.replace("\n", " ").split(". ")[:SENTENCES]]
    return [sentence for sentence in found if SHORTEST <= len(sentence) <= LONGEST]


def _in_turns(first: list[str], second: list[str]) -> Iterator[str]:
    for n in range(max(len(first), len(second))):
        yield from first[n : n + 1]
        yield from second[n : n + 1]


def _distinct(texts: Iterator[str]) -> list[str]:
    found: dict[str, str] = {}
    for text in texts:
        stripped = text.strip()
        if stripped and not stripped.startswith("#"):
            found.setdefault(stripped.casefold(), stripped)
    return list(found.values())


def _title(document: DocumentChange) -> str | None:
    if not isinstance(document.content, InlineText):
        return None
    heading = next((line for line in document.content.text.splitlines() if line.startswith("# ")), None)
    return heading.removeprefix("# ").strip() if heading else None
