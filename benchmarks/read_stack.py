"""The index that the read path's parts ask: filled once a run, by the product's ingest, and used by each of them."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.child import in_own_process
from benchmarks.read_server import dumped
from benchmarks.stack import Servers, make_settings, opened_stack
from benchmarks.texts import corpus, distinct_questions, titles_of
from connectors.embedding import HashingEmbedder, create_embedder
from connectors.kafka import KafkaLink
from connectors.kafka.topics import create_topics, topic_specs
from schemas.settings import Settings

PREPARED: Final = "read-stack.json"
QUICK_DOCUMENTS: Final = 12


class Texts(NamedTuple):
    """Which texts: `most` of each kind, all with None."""

    history: Path | None
    scifact: Path | None
    most: int | None


class ReadStack(NamedTuple):
    """A filled index.

    Attributes:
        questions: no two the same; each part takes its own stretch of them, for what was asked once may be remembered.
        titles: of what is indexed: questions that it surely answers.
    """

    servers: Servers
    settings: Settings
    texts: Texts
    about: dict[str, Any]
    questions: Sequence[str]
    titles: Sequence[str]


def read_stack(servers: Servers, folder: Path, texts: Texts, closing: ExitStack) -> ReadStack:
    """Filled at the first call of a run; its collections are dropped when `closing` closes."""
    file = folder / PREPARED
    if not file.is_file():
        _fill(servers, folder, texts, closing, file)
    kept = json.loads(file.read_text())
    return ReadStack(servers, Settings.model_validate(kept["settings"]), texts, kept["about"], kept["questions"], kept["titles"])


def _fill(servers: Servers, folder: Path, texts: Texts, closing: ExitStack, file: Path) -> None:
    redis: dict[str, object] = {"url": servers.redis or None}
    settings = make_settings(folder / "read", redis=redis)
    create_topics(KafkaLink(settings.kafka, servers.kafka), topic_specs(settings))
    closing.callback(_drop, servers, settings)
    given = {"servers": servers._asdict(), "settings": dumped(settings), "texts": [_or_none(part) for part in texts]}
    about = in_own_process("benchmarks.read_stack:fill", given)
    asked = {name: about.pop(name) for name in ("questions", "titles")}
    file.write_text(json.dumps({"settings": dumped(settings), "about": about, **asked}))
    print(f"    {about['documents']:,} documents, {about['chunks']:,} chunks indexed in {about['seconds']:.0f} s", flush=True)


def fill(servers: dict[str, Any], settings: dict[str, Any], texts: list[Any]) -> dict[str, Any]:
    """Publish the corpus and index it; called in a process of its own."""
    chosen = texts_of(texts)
    parsed = Settings.model_validate(settings)
    documents = corpus(chosen.history, chosen.scifact, most=chosen.most)
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    with opened_stack(Servers(**servers), parsed, embedder) as stack:
        stack.publish(documents)
        began = time.perf_counter()
        stack.ingest()
        seconds = time.perf_counter() - began
        chunks = sum(stack.store.count(name) for name in stack.store.collections() if name.startswith(_prefix(parsed)))
    return {
        "documents": len(documents),
        "chunks": chunks,
        "seconds": seconds,
        "encoder": embedder.variant,
        "titles": titles_of(documents),
        # Titles of all documents, also where only some of them are indexed: what is asked need not be there.
        "questions": distinct_questions(chosen.scifact, corpus(chosen.history, chosen.scifact)),
    }


def texts_of(raw: list[Any]) -> Texts:
    """What `fill` and others are given, as JSON has it."""
    history, scifact, most = raw
    return Texts(Path(history) if history else None, Path(scifact) if scifact else None, most)


def as_json(texts: Texts) -> list[Any]:
    """The inverse."""
    return [_or_none(part) for part in texts]


def _or_none(part: Path | int | None) -> str | int | None:
    return str(part) if isinstance(part, Path) else part


def _prefix(settings: Settings) -> str:
    return settings.milvus.collection_prefix


def _drop(servers: Servers, settings: Settings) -> None:
    with opened_stack(servers, settings, HashingEmbedder(8)) as stack:
        stack.drop()
