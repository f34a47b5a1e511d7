"""From an event's content to text and chunks: fetch, parse, chunk. The lane calls it only for content that advances."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping

from connectors.blobs import BlobRejected, BlobStore, BlobTroubled
from connectors.kafka import KafkaLink, PartitionReader, Record
from connectors.parsing import Parsed, Parser, clean_title
from flows.chunking import Chunker
from flows.ingest.events import Event, decode
from flows.ingest.lane import Resolved
from flows.ingest.patience import Patience
from schemas.documents import ContentReference, InlineText
from schemas.errors import DataLoss, Retryable
from schemas.index import SourcePosition
from schemas.settings import MIB, BlobSettings, IndexSettings, ParsingSettings

RECALL_TIMEOUT_S = 2.0
"""Of one try, of as many as it takes."""

_HEADING = re.compile(r"#{1,6}[^\S\n]")  # no more than the mark: patterns for the rest take a cube of the blanks in a line


class ContentResolver:
    """The lane's `Resolver` on real parts."""

    def __init__(  # noqa: PLR0913
        self,
        link: KafkaLink,
        topic: str,
        *,
        indexes: Mapping[str, IndexSettings],
        blobs: BlobStore,
        blob_settings: BlobSettings,
        parser: Parser,
        parsing: ParsingSettings,
        chunker: Chunker,
        patience: Patience,
    ) -> None:
        self._link = link
        self._topic = topic
        self._indexes = indexes
        self._blobs = blobs
        self._blob_settings = blob_settings
        self._parser = parser
        self._parsing = parsing
        self._chunker = chunker
        self._patience = patience
        self._chunking = threading.Lock()  # worker threads share the chunker's memory of blocks

    def resolve(self, event: Event) -> Resolved:
        parsed = self._parse(event)
        title = event.change.title or parsed.title or _first_heading(parsed) or event.key.doc_id
        with self._chunking:
            chunks = self._chunker.chunk(parsed.text, parsed.media_type)
        return Resolved(parsed.text, parsed.media_type, title, chunks)

    def recall(self, source: SourcePosition) -> Event | None:
        reader = PartitionReader(self._link, self._topic, source.partition, source.offset)
        try:
            record = self._patience.insist("Kafka", lambda: _next_of(reader))
        except DataLoss:
            return None
        finally:
            reader.close()
        event = decode(record, self._indexes)
        return event if record.offset == source.offset and isinstance(event, Event) else None

    def _parse(self, event: Event) -> Parsed:
        content = event.change.content
        deadline = self._parsing.timeout_s
        if isinstance(content, InlineText):
            return self._parser.parse(content.text.encode(), content.media_type, timeout_s=deadline)
        if isinstance(content, ContentReference):
            limit = self._blob_settings.max_mib * MIB
            data = self._patience.insist(
                f"blob store of {content.uri.partition(':')[0]}",
                _bounded(
                    lambda: self._blobs.fetch(content.uri, sha256=content.sha256, max_bytes=limit, timeout_s=deadline),
                    self._blob_settings.patience_s,
                ),
            )
            return self._parser.parse(data, content.media_type, timeout_s=deadline)
        if content is None:
            msg = "only upserts are resolved"
            raise AssertionError(msg)
        return self._parser.parse(content.base64, content.media_type, timeout_s=deadline)


def _next_of(reader: PartitionReader) -> Record:
    deadline = time.monotonic() + RECALL_TIMEOUT_S
    while time.monotonic() < deadline:
        for record in reader.poll_blocking(0.1, 1):
            return record
    msg = f"{reader.topic}[{reader.partition}] gave nothing in {RECALL_TIMEOUT_S:g} s"
    raise Retryable(msg)


def _bounded(fetch: Callable[[], bytes], patience_s: float) -> Callable[[], bytes]:
    """`fetch`, which rejects a blob that gave trouble for so long: the store may be waited for, one file holds up all others."""
    since: float | None = None

    def tried() -> bytes:
        nonlocal since
        try:
            return fetch()
        except BlobTroubled as exc:
            since = time.monotonic() if since is None else since
            if time.monotonic() < since + patience_s:
                raise
            msg = "not_readable"
            raise BlobRejected(msg, f"{exc}; tried for {patience_s:g} s (RAG_BLOBS__PATIENCE_S)") from exc
        except Retryable:
            since = None  # the store is away: what it said before tells nothing of the file
            raise

    return tried


def _first_heading(parsed: Parsed) -> str | None:
    """The text of the first Markdown heading that has any, in time in proportion to the text's length."""
    if parsed.media_type != "text/markdown":
        return None
    headings = (line.lstrip("#").strip().rstrip("#") for line in parsed.text.split("\n") if _HEADING.match(line))
    return next(filter(None, map(clean_title, headings)), None)
