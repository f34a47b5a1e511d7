"""What is written is read back equal: every message of every topic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from schemas.dead_letters import DeadLetter
from schemas.documents import DocumentChange
from schemas.floors import Floor, FloorKey, join_floors
from schemas.index import DocKey, LogKey, SeenRecord, SourcePosition, state_from_wire, state_to_wire
from schemas.join import DocumentState
from schemas.tokens import WriteToken
from schemas.wire import Growing, from_ms, parse, to_ms
from tests import messages


@given(messages.changes())
def test_document_change(change: DocumentChange) -> None:
    """With the fields that were given, no more: a missing ACL stays missing."""
    back = parse(DocumentChange, change.to_bytes())
    assert back == change
    assert back.model_fields_set - {"schema_version"} == change.model_fields_set - {"schema_version"}
    assert back.content_digest() == change.content_digest()


@given(messages.entries | messages.progresses | messages.owners | messages.answers)
def test_growing_messages(message: Growing) -> None:
    """Manifests, markers, owners and answers."""
    assert type(message).from_bytes(message.to_bytes()) == message


@given(messages.queries | messages.feedbacks)
def test_requests(message: BaseModel) -> None:
    """What services send: as JSON with or without the fields that are null."""
    model = type(message)
    assert parse(model, message.model_dump_json().encode()) == message
    assert parse(model, message.model_dump_json(exclude_none=True).encode()) == message


@given(messages.floors)
def test_floor(floor: Floor) -> None:
    """Both registers, each or none."""
    back = Floor.from_bytes(floor.to_bytes())
    assert back == floor
    assert join_floors(back, floor) == floor


@given(messages.floor_keys)
def test_floor_key(key: FloorKey) -> None:
    """Whatever a document is called: with the lane that wrote it, or without, as older releases wrote them."""
    assert FloorKey.from_bytes(key.to_bytes()) == key


@given(messages.seen_records)
def test_seen_record(record: SeenRecord) -> None:
    """Registers and positions."""
    assert SeenRecord.from_bytes(record.to_bytes()) == record


@given(messages.states)
def test_state(state: DocumentState) -> None:
    """Any state that events can lead to."""
    assert state_from_wire(state_to_wire(state)) == state


@given(messages.dead_letters)
def test_dead_letter(letter: DeadLetter) -> None:
    """Value and headers hold all of it, whatever the message's own headers are called."""
    assert DeadLetter.from_wire(letter.raw or b"", letter.wire_headers()) == letter


@given(messages.indexes, messages.doc_ids, st.sampled_from(["doc", "seen"]))
def test_keys(index: str, doc_id: str, kind: str) -> None:
    """A doc_id may hold anything, slashes too."""
    key = DocKey(index, doc_id)
    assert DocKey.parse(str(key)) == key
    assert LogKey.from_bytes(LogKey(kind, str(key)).to_bytes()) == LogKey(kind, str(key))


@given(messages.lines, messages.positions, messages.indexes, messages.doc_ids)
def test_write_token(log_id: str, source: SourcePosition, index: str, doc_id: str) -> None:
    """A token as text is the token."""
    token = WriteToken(log_id, source.partition, source.offset, DocKey(index, doc_id))
    assert WriteToken.parse(str(token)) == token


@given(messages.numbers.map(lambda number: number % 10**14))
def test_milliseconds(ms: int) -> None:
    """Times keep their milliseconds."""
    assert to_ms(from_ms(ms)) == ms
