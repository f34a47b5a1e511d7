"""Content becomes text, title and chunks; what can't be read holds others up for so long and no longer."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from connectors.blobs import BlobTroubled
from connectors.kafka import Record
from connectors.kafka.link import KafkaLink
from connectors.parsing import FileParser
from flows.chunking import Chunker
from flows.ingest.events import Event, decode
from flows.ingest.patience import Patience
from flows.ingest.resolve import ContentResolver
from schemas.documents import MAX_TITLE_LENGTH, ContentReference, DocumentChange, DocumentContent, InlineText
from schemas.errors import Rejected, Retryable
from schemas.settings import BlobSettings, IndexSettings, KafkaSettings, ParsingSettings
from tests.unit.flows.chunking.tokenizers_for_tests import WordTokenizer

INDEXES = {"docs": IndexSettings()}
BLANKS = 30_000


class Blobs:
    """A store that gives trouble, each time of the same kind."""

    def __init__(self, trouble: Retryable) -> None:
        self.trouble = trouble
        self.fetches = 0
        self.fetched = threading.Event()

    def fetch(self, uri: str, *, sha256: str | None, max_bytes: int, timeout_s: float) -> bytes:
        self.fetches += 1
        if self.fetches > 3:
            self.fetched.set()
        raise self.trouble


def resolver(blobs: Blobs, give_up: threading.Event | None = None, patience_s: float = 0.2) -> ContentResolver:
    return ContentResolver(
        KafkaLink(KafkaSettings(), "127.0.0.1:1"),
        "rag.documents",
        indexes=INDEXES,
        blobs=blobs,
        blob_settings=BlobSettings(patience_s=patience_s),
        parser=FileParser(ParsingSettings()),
        parsing=ParsingSettings(),
        chunker=Chunker(WordTokenizer()),
        patience=Patience(give_up or threading.Event(), 0.05),
    )


def event(content: DocumentContent) -> Event:
    change = DocumentChange(op="upsert", doc_id="a", event_time=datetime(2026, 1, 1, tzinfo=UTC), content=content)
    made = decode(Record("rag.documents", 0, 7, 1_800_000_000_000, b"a", change.to_bytes()), INDEXES)
    assert isinstance(made, Event)
    return made


def title(text: str, media_type: str = "text/markdown") -> str:
    content = InlineText(text=text, media_type=media_type)
    return resolver(Blobs(Retryable("away"))).resolve(event(content)).title


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# Cards and PINs\n\nText.", "Cards and PINs"),
        ("Text.\n\n##  Cards  ##  \n# Later", "Cards"),
        ("#hashtag\n\n###### Deep", "Deep"),
        ("#\n# \n## ##\n# Said at last", "Said at last"),
        ("no heading", "a"),
        (f"# a{' ' * BLANKS}b", "a b"),
        (f"# {'long ' * BLANKS}", ("long " * BLANKS)[:MAX_TITLE_LENGTH].rstrip()),
        (f"#{' ' * BLANKS}\n# {'#' * BLANKS}", "a"),
    ],
)
def test_the_title_is_the_first_heading_with_text(text: str, expected: str) -> None:
    """Or the document's id; however many blanks there are, in time in proportion to them."""
    assert title(text) == expected


def test_plain_text_has_no_heading() -> None:
    """A `#` there is a character like others."""
    assert title("# Cards", "text/plain") == "a"


def test_one_file_that_cannot_be_read_holds_others_up_for_so_long_only() -> None:
    """Its store is there: after the patience that is set it is a dead letter, which says what was wrong."""
    blobs = Blobs(BlobTroubled("reading file:///a failed for now: Input/output error"))
    content = ContentReference(uri="file:///a", sha256="0" * 64, media_type="text/plain")
    with pytest.raises(Rejected, match=r"Input/output error.*RAG_BLOBS__PATIENCE_S") as rejected:
        resolver(blobs).resolve(event(content))
    assert rejected.value.reason == "not_readable"
    assert blobs.fetches > 1


def test_an_outage_before_does_not_count_against_a_file() -> None:
    """Its patience begins with its own trouble, and begins anew after the store was away."""

    class Returning(Blobs):
        """Away for a while, then in trouble with this file, then well."""

        def fetch(self, uri: str, *, sha256: str | None, max_bytes: int, timeout_s: float) -> bytes:
            self.fetches += 1
            if self.fetches == 20:
                return b"at last"
            raise Retryable("away") if self.fetches < 10 or self.fetches % 2 else BlobTroubled("an error of the disk")

    content = ContentReference(uri="file:///a", sha256="0" * 64, media_type="text/plain")
    assert resolver(Returning(Retryable("away")), patience_s=0.2).resolve(event(content)).text == "at last"


def test_a_store_that_is_away_is_waited_for() -> None:
    """Longer than for one file, until the process must end: what is in it comes back with it."""
    give_up = threading.Event()
    blobs = Blobs(Retryable("the folder /mnt is not there"))
    content = ContentReference(uri="file:///a", sha256="0" * 64, media_type="text/plain")
    raised: list[BaseException] = []

    def resolve() -> None:
        try:
            resolver(blobs, give_up, patience_s=0.01).resolve(event(content))
        except Retryable as exc:
            raised.append(exc)

    thread = threading.Thread(target=resolve)
    thread.start()
    assert blobs.fetched.wait(10)
    give_up.set()
    thread.join(10)
    assert raised == [blobs.trouble]
