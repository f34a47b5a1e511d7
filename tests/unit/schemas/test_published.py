"""The published schemas: current, valid, and of one mind with the models."""

from __future__ import annotations

import json

import jsonschema
import pytest
from hypothesis import given
from pydantic import BaseModel

from schemas import publish
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.wire import parse
from tests import messages

VALIDATORS = {
    model: jsonschema.Draft202012Validator(publish.json_schema(model), format_checker=jsonschema.FormatChecker())
    for model in publish.MODELS
}


def test_current() -> None:
    """What is committed is what the models say; else run `python -m schemas.publish`."""
    assert publish.stale() == []


def test_nothing_else_is_published() -> None:
    """A model that is no longer published leaves no file behind."""
    assert {path.name for path in publish.FOLDER.iterdir()} == set(publish.published())


@pytest.mark.parametrize("model", publish.MODELS)
def test_valid(model: type[BaseModel]) -> None:
    """Each is JSON Schema 2020-12."""
    jsonschema.Draft202012Validator.check_schema(json.loads((publish.FOLDER / f"{model.__name__}.json").read_text()))


@given(messages.changes() | messages.queries | messages.feedbacks | messages.entries | messages.progresses | messages.owners)
def test_messages_fit(message: BaseModel) -> None:
    """Whatever the models write fits their schema."""
    VALIDATORS[type(message)].validate(json.loads(message.model_dump_json(exclude_unset=True)))


@pytest.mark.parametrize(
    "fields",
    [
        {"doc_id": ""},
        {"doc_id": "x" * 513},
        {"title": "x" * 513},
        {"source_uri": "x" * 2049},
        {"index": "Docs"},
        {"version": -1},
        {"version": 2**53},
        {"version": 1.5},
        {"acl": ["ann"]},
        {"acl": ["role:operator"]},
        {"acl": "*"},
        {"acl": ["*"] * 257},
        {"ttl_seconds": 0},
        {"ttl_seconds": "60"},
        {"event_time": 1_700_000_000},
        {"metadata": {"a b": 1}},
        {"metadata": {"a": {"b": 1}}},
        {"metadata": {f"k{n}": 1 for n in range(33)}},
        {"content": {"uri": "no-scheme", "sha256": "0" * 64, "media_type": "text/plain"}},
        {"content": {"text": "x", "base64": "aGk="}},
        {"content": {"text": "x", "media_type": "application/pdf"}},
        {"unknown": 1},
    ],
    ids=str,
)
def test_limits_stand_in_the_schema(fields: dict[str, object]) -> None:
    """What the model refuses for a type or a limit, a producer's validator refuses before sending."""
    message = {"op": "upsert", "doc_id": "a", "content": {"text": "x"}} | fields
    assert not VALIDATORS[DocumentChange].is_valid(message)
    with pytest.raises(Rejected):
        parse(DocumentChange, json.dumps(message).encode())
