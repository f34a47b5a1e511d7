"""Real edits at a steady pace: revisions of an edit history, timed so that a share of the encoder's limit has to be embedded."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.asking import Caller
from benchmarks.documents import live_documents
from benchmarks.ingest import EncoderTokens, distinct_chunks
from benchmarks.read_server import ReadServer
from benchmarks.read_stack import ReadStack, texts_of
from benchmarks.stack import ingest_process
from benchmarks.texts import corpus
from connectors.embedding import create_embedder
from connectors.kafka import KafkaLink, OutRecord, Producer
from flows.chunking import Chunker, ChunkLimits
from ragstream.publishing.jsonl import line_changes
from ragstream.publishing.options import PublishOptions
from schemas.acl import EVERYONE
from schemas.documents import DocumentChange, InlineText
from schemas.settings import Settings
from tests.waiting import wait_until

SAMPLE_CHUNKS: Final = 512
ROUNDS: Final = 2
INGEST_START_S: Final = 120.0
FLUSH_S: Final = 30.0


class Plan(NamedTuple):
    """When which change is sent.

    Attributes:
        file: a line an event: seconds after the beginning, document, text.
        chunks: that the encoder has not seen, over all events.
    """

    file: str
    events: int
    chunks: int
    seconds: float
    limit_chunks_per_s: float


def plan(settings: dict[str, Any], texts: list[Any], share: float, seconds: float, folder: str) -> dict[str, Any]:
    """Measure the encoder's limit, then take as many edits as fill `share` of it for `seconds`. In a process of its own."""
    parsed, chosen = Settings.model_validate(settings), texts_of(texts)
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    known = distinct_chunks(corpus(chosen.history, chosen.scifact, most=chosen.most), embedder)
    sample = [chunk.text for chunk in list(known.values())[:: max(1, len(known) // SAMPLE_CHUNKS)]][:SAMPLE_CHUNKS]
    limit = _limit(embedder.encode, sample)
    chunker = Chunker(EncoderTokens(embedder), ChunkLimits.of(parsed.chunking, model_tokens=embedder.max_tokens))
    wanted = share * limit * seconds
    lines, fresh, seen = [], 0, set(known)
    for change in _edits(chosen.history):
        if fresh >= wanted or not isinstance(change.content, InlineText):
            continue
        new = {chunk.digest for chunk in chunker.chunk(change.content.text, "text/markdown")} - seen
        if not new:
            continue
        # It is sent when its share of the time has come: many chunks at once are followed by a longer pause.
        lines.append(json.dumps([fresh / (share * limit), change.doc_id, change.content.text]))
        seen |= new
        fresh += len(new)
    file = Path(folder) / "edits.jsonl"
    file.write_text("\n".join(lines))
    return Plan(str(file), len(lines), fresh, seconds, limit)._asdict()


def _limit(encode: Any, sample: list[str]) -> float:
    encode(sample)
    times = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        encode(sample)
        times.append(time.perf_counter() - began_s)
    return len(sample) / min(times)


def _edits(history: Path | None) -> Iterator[DocumentChange]:
    """Revisions in the history's order; without one, copies of the help centre that the corpus doesn't hold."""
    if history is None:
        yield from live_documents(None, 40_000)[20_000:]
        return
    for change in line_changes(history, PublishOptions(acl=(EVERYONE,))):
        if isinstance(change, DocumentChange) and change.op == "upsert":
            yield change


class Edits:
    """A thread that sends the plan's changes, each with the time of its sending."""

    def __init__(self, stack: ReadStack, made: Plan) -> None:
        self._topic = stack.settings.kafka.topics.documents
        self._producer = Producer(KafkaLink(stack.settings.kafka, stack.servers.kafka))
        self._events = [json.loads(line) for line in Path(made.file).read_text().splitlines()]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send, daemon=True)
        self._failure: BaseException | None = None
        self.sent = 0

    def begin(self) -> None:
        """The plan's time starts now."""
        self._thread.start()

    def end(self) -> int:
        """Send no more; how many were sent. Raises: what sending met."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(FLUSH_S)
        if self._failure is not None:
            raise self._failure
        return self.sent

    def close(self) -> None:
        self._stop.set()
        self._producer.close()

    def publish(self, doc_id: str, text: str) -> None:
        """One change, acknowledged."""
        self._queue(doc_id, text)
        self._producer.flush(FLUSH_S)

    def _queue(self, doc_id: str, text: str) -> None:
        change = DocumentChange(op="upsert", doc_id=doc_id, acl=(EVERYONE,), content=InlineText(text=text))
        self._producer.send(OutRecord(self._topic, doc_id.encode(), change.to_bytes()))

    def _send(self) -> None:
        began_s = time.monotonic()
        try:
            for after_s, doc_id, text in self._events:
                if self._stop.wait(max(0.0, began_s + after_s - time.monotonic())):
                    break
                self._queue(doc_id, text)
                self.sent += 1
            self._producer.flush(FLUSH_S)
        except BaseException as exc:
            self._failure = exc


@contextmanager
def edits_arriving(stack: ReadStack, server: ReadServer, made: Plan) -> Iterator[Edits]:
    """`ragstream ingest` runs for the length of the block, and has nothing to do before `begin`."""
    with ingest_process(stack.servers, stack.settings):
        edits = Edits(stack, made)
        try:
            edits.publish("bench/first", "The first notice, which says that the lanes are open.")
            wait_for_reflection(server.url, datetime.now(UTC))
            yield edits
        finally:
            edits.close()


def wait_for_reflection(url: str, moment: datetime) -> None:
    """Until the server states that everything published before `moment` is reflected."""
    caller = Caller(url)

    def is_reflected() -> bool:
        until = (caller.ask("Is it there?").answer.get("as_of") or {}).get("reflected_until")
        return until is not None and datetime.fromisoformat(until) > moment

    try:
        wait_until(is_reflected, within_s=INGEST_START_S, what="the first change to be reflected")
    finally:
        caller.close()
