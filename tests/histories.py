"""Generated histories of documents, and the fold that says what must come of them: the suite's oracle.

The oracle shares only the join with the product: it parses no manifests and knows no lanes.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connectors.kafka.records import Record
from flows.ingest.events import Event, decode
from schemas.documents import DocumentChange
from schemas.index import DocKey
from schemas.join import DocumentState, fold
from schemas.settings import IndexSettings
from schemas.wire import from_ms, to_ms

TOPIC = "rag.documents"
START_MS = 1_760_000_000_000
STEP_MS = 1_000
INDEXES = {"docs": IndexSettings()}

_SENTENCES = (
    "Cards arrive within {n} working days of the order.",
    "A transfer abroad costs {n} euros.",
    "The limit for cash withdrawals is {n}00 euros a week.",
    "Support answers within {n} hours.",
    "Refunds show up after {n} days at the latest.",
    "Identity checks need {n} documents.",
)
SHARED_PARAGRAPH = "This notice is the same in many documents. It says how complaints are handled, and by whom."


@dataclass(frozen=True)
class Expected:
    """A document that must be live, with its text."""

    key: DocKey
    state: DocumentState
    text: str


def history(seed: int, documents: int = 300, *, now_ms: int) -> list[DocumentChange]:
    """Edits, A→B→A, renames, deletes, expiries, ACL changes, repeated paragraphs; oldest first, interleaved."""
    rng = random.Random(seed)
    changes: list[DocumentChange] = []
    clock = START_MS
    lives = [_life(rng, f"doc/{n:04d}", now_ms) for n in range(documents)]
    while lives:
        life = rng.choice(lives[:20])
        fields = life.pop(0)
        if not life:
            lives.remove(life)
        clock += rng.randint(1, STEP_MS)
        changes.append(DocumentChange.model_validate({**fields, "event_time": from_ms(clock)}))
    return changes


def _life(rng: random.Random, doc_id: str, now_ms: int) -> list[dict[str, object]]:
    """One document's changes, in order."""
    text = _text(rng)
    acl: list[str] = rng.choice([["*"], ["group:hr"], ["user:ann", "group:legal"], ["*"]])
    life: list[dict[str, object]] = [_upsert(doc_id, text, acl=acl)]
    previous = text
    for _ in range(rng.randint(0, 5)):
        kind = rng.choice(["edit", "edit", "back", "same", "access", "delete", "expire", "expire-late", "shorten", "rename"])
        if kind == "edit":
            previous, text = text, _edit(rng, text)
            life.append(_upsert(doc_id, text))
        elif kind == "back":
            previous, text = text, previous
            life.append(_upsert(doc_id, text))
        elif kind == "same":
            life.append(_upsert(doc_id, text, acl=acl))
        elif kind == "access":
            acl = rng.choice([["*"], ["group:hr"], [], ["user:ann"]])
            life.append({"op": "access", "doc_id": doc_id, "acl": acl})
        elif kind == "delete":
            life.append({"op": "delete", "doc_id": doc_id})
        elif kind == "expire":
            life.append(_upsert(doc_id, text, expires_at=from_ms(now_ms - rng.randint(1, 10**6))))
        elif kind == "expire-late":
            life.append(_upsert(doc_id, text, expires_at=from_ms(now_ms + 10**9)))
        elif kind == "shorten":
            life.append({"op": "access", "doc_id": doc_id, "expires_at": from_ms(now_ms - 10**5)})
        else:
            life.append({"op": "delete", "doc_id": doc_id})
            doc_id = f"{doc_id}-renamed"
            life.append(_upsert(doc_id, text, acl=acl))
    return life


def _upsert(doc_id: str, text: str, **more: object) -> dict[str, object]:
    return {"op": "upsert", "doc_id": doc_id, "content": {"text": text}, **more}


def _text(rng: random.Random) -> str:
    paragraphs = [f"# Title {rng.randint(0, 999)}"]
    for _ in range(rng.randint(1, 4)):
        sentences = rng.choices(_SENTENCES, k=rng.randint(2, 6))
        paragraphs.append(" ".join(s.format(n=rng.randint(1, 99)) for s in sentences))
    if rng.random() < 0.4:
        paragraphs.insert(rng.randint(1, len(paragraphs)), SHARED_PARAGRAPH)
    return "\n\n".join(paragraphs) + "\n"


def _edit(rng: random.Random, text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    place = rng.randrange(1, len(paragraphs)) if len(paragraphs) > 1 else 0
    if rng.random() < 0.3 and len(paragraphs) > 2:
        del paragraphs[place]
    else:
        paragraphs[place] += f" Changed to {rng.randint(100, 999)}."
    return "\n\n".join(paragraphs) + "\n"


def disturbed(changes: Sequence[DocumentChange], seed: int) -> list[DocumentChange]:
    """The same changes, shuffled, with 20 % of them twice."""
    rng = random.Random(seed)
    mixed = [*changes, *rng.sample(changes, len(changes) // 5)]
    rng.shuffle(mixed)
    return mixed


def records_of(changes: Iterable[DocumentChange], partition: int = 0) -> list[Record]:
    """The changes as they would be read from one partition, sent when they happened."""
    return [
        Record(TOPIC, partition, offset, _sent_ms(change), change.doc_id.encode(), change.to_bytes())
        for offset, change in enumerate(changes)
    ]


def _sent_ms(change: DocumentChange) -> int:
    return to_ms(change.event_time) if change.event_time is not None else START_MS


def expected_documents(changes: Iterable[DocumentChange], now_ms: int) -> dict[DocKey, Expected]:
    """The fold: which documents must be live at `now_ms`, and with which text (plain inline text only)."""
    states: dict[DocKey, list[DocumentState]] = {}
    texts: dict[tuple[DocKey, str], str] = {}
    for record in records_of(changes):
        event = decode(record, INDEXES)
        if not isinstance(event, Event):
            continue
        states.setdefault(event.key, []).append(event.effect())
        if event.digest is not None:
            texts[event.key, event.digest] = event.change.content.text  # type: ignore[union-attr]
    folded = {key: fold(effects) for key, effects in states.items()}
    return {
        key: Expected(key, state, texts[key, state.content.digest])
        for key, state in folded.items()
        if state.content is not None and state.is_live(now_ms)
    }
