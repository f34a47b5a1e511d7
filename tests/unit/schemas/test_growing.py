"""Contracts that grow: readers of an older release pass over what they don't know, but not over another schema version."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from schemas.dead_letters import DeadLetter
from schemas.errors import Rejected
from schemas.feedback import Feedback
from schemas.floors import NO_FLOOR, Floor
from schemas.index import SeenRecord, SourcePosition
from schemas.join import EMPTY
from schemas.queries import QueryRequest
from schemas.wire import Growing, parse
from tests import messages


@given(messages.entries | messages.progresses | messages.owners | messages.answers)
def test_unknown_fields_are_ignored(message: Growing) -> None:
    """On every level that may grow."""
    wire = json.loads(message.to_bytes())
    wire["added_later"] = {"deep": [1]}
    for inner in wire.values():
        if isinstance(inner, dict) and inner is not wire.get("totals") and inner is not wire.get("metadata"):
            inner["added_later"] = 1
    assert type(message).from_bytes(json.dumps(wire).encode()) == message


@given(messages.entries | messages.progresses | messages.owners | messages.answers)
def test_another_schema_version_is_not_guessed_at(message: Growing) -> None:
    """It says so instead."""
    wire = json.loads(message.to_bytes()) | {"schema_version": 2}
    with pytest.raises(Rejected) as caught:
        type(message).from_bytes(json.dumps(wire).encode())
    assert caught.value.reason == "unknown_schema_version"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [(Floor, NO_FLOOR.to_bytes()), (SeenRecord, SeenRecord(EMPTY, SourcePosition(0, 0)).to_bytes())],
)
def test_records_of_registers_grow_too(kind: type[Floor | SeenRecord], raw: bytes) -> None:
    """Floors and seen records follow the same rule."""
    wire = json.loads(raw)
    assert kind.from_bytes(json.dumps(wire | {"added_later": 1}).encode()) == kind.from_bytes(raw)
    with pytest.raises(Rejected, match="unknown_schema_version"):
        kind.from_bytes(json.dumps(wire | {"schema_version": 2}).encode())


@pytest.mark.parametrize(
    ("model", "raw"),
    [
        (QueryRequest, b'{"query_id":"q","question":"why?","acl":[]}'),
        (QueryRequest, b'{"query_id":"q","question":""}'),
        (QueryRequest, b'{"query_id":"q","question":"why?","principals":["role:admin"]}'),
        (QueryRequest, b'{"query_id":"q","question":"why?","deadline":5}'),
        (QueryRequest, b'{"query_id":"q","question":"' + b"x" * 4001 + b'"}'),
        (Feedback, b'{"query_id":"q","rating":5}'),
        (Feedback, b'{"query_id":"q","rating":"up","stars":5}'),
    ],
)
def test_what_others_send_is_strict(model: type[QueryRequest | Feedback], raw: bytes) -> None:
    """An unknown field of a question might be a restriction that we would not honour."""
    with pytest.raises(Rejected, match="invalid"):
        parse(model, raw)


@pytest.mark.parametrize("missing", ["rag-reason", "rag-offset", "rag-value", "rag-attempts"])
def test_a_dead_letter_without_its_headers_is_refused(missing: str) -> None:
    """It can't be redriven to anywhere."""
    letter = DeadLetter("invalid", "…", "rag.documents", SourcePosition(0, 1), b"x", b"k", 5, 6)
    headers = [(name, value) for name, value in letter.wire_headers() if name != missing]
    with pytest.raises(Rejected, match="incomplete"):
        DeadLetter.from_wire(b"x", headers)


def test_a_dead_letters_detail_is_bounded() -> None:
    """Brokers limit headers with the message."""
    letter = DeadLetter("invalid", "x" * 5_000, "t", SourcePosition(0, 1), None, None, 5, 6)
    assert max(len(value) for _, value in letter.wire_headers()) == 1_000
