"""Writes the published form of the contracts: JSON Schemas and an AsyncAPI document, under schemas/published/.

`python -m schemas.publish` writes them, `--check` says which are not current. They are committed: not every system runs Python.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.documents import DocumentChange
from schemas.feedback import Feedback
from schemas.index import IndexEntry, Owner, Progress
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import TopicSettings

FOLDER: Final = Path(__file__).parent / "published"
MODELS: Final[tuple[type[BaseModel], ...]] = (DocumentChange, QueryRequest, AnswerEvent, Feedback, IndexEntry, Progress, Owner)
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

DEAD_LETTER_HEADERS: Final[Mapping[str, str]] = {
    "rag-schema-version": "1",
    "rag-reason": "Stable code of what is wrong.",
    "rag-detail": "What is wrong and how to mend it; holds no document text.",
    "rag-topic": "Topic the message came from.",
    "rag-partition": "Its partition.",
    "rag-offset": "Its offset.",
    "rag-timestamp-ms": "Its Kafka timestamp.",
    "rag-failed-at-ms": "When it was rejected.",
    "rag-attempts": "How often it was tried.",
    "rag-value": "`bytes`; `null` where the message had no value. Where a dead letter would be larger than Kafka takes: "
    "`bytes-alone` (its own headers left out) or `left-out` (its value, too); they are at the source position.",
    "rag-key": "Its key, byte for byte.",
}


def published() -> dict[str, str]:
    """File name to content of everything that is published."""
    files = {f"{model.__name__}.json": _json(json_schema(model)) for model in MODELS}
    files["asyncapi.json"] = _json(asyncapi())
    return files


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON Schema, as its messages are to be written."""
    return {"$schema": DIALECT, **model.model_json_schema(mode="validation", by_alias=True)}


def asyncapi() -> dict[str, Any]:
    """The topics, who sends what there, and the messages, as AsyncAPI 3.0 (the index log is internal and left out)."""
    topics = TopicSettings()
    public: list[tuple[str, str, str, type[BaseModel] | None, str]] = [
        ("documents", topics.documents, "receive", DocumentChange, "Changes of documents. Key: doc_id."),
        ("queries", topics.queries, "receive", QueryRequest, "Questions. Key: query_id."),
        ("answers", topics.answers, "send", AnswerEvent, "Events of answers. Key: query_id."),
        ("feedback", topics.feedback, "receive", Feedback, "What users thought of answers. Key: query_id."),
        ("deadLetters", topics.dead_letters, "send", None, "Messages that can't be processed, byte for byte."),
    ]
    models = [(model, "validation") for _, _, _, model, _ in public if model is not None]
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "ragstream",
            "version": "1.0.0",
            "description": "Publish document changes, ask questions, receive cited answers. Names of topics are settings.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name, topic, about) for name, topic, _, _, about in public},
        "operations": {_operation_name(action, name): _operation(name, action) for name, _, action, _, _ in public},
        "components": {
            "messages": {name: _message(model, about) for name, _, _, model, about in public},
            "schemas": definitions["$defs"],
        },
    }


def _channel(name: str, topic: str, about: str) -> dict[str, Any]:
    reference = {"$ref": f"#/components/messages/{name}"}
    return {"address": topic, "description": about, "messages": {name: reference}}


def _operation_name(action: str, name: str) -> str:
    return action + name[0].upper() + name[1:]


def _operation(name: str, action: str) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
    }


def _message(model: type[BaseModel] | None, about: str) -> dict[str, Any]:
    if model is None:
        headers = {name: {"type": "string", "description": text} for name, text in DEAD_LETTER_HEADERS.items()}
        return {
            "name": "DeadLetter",
            "summary": about,
            "contentType": "application/octet-stream",
            "headers": {"type": "object", "properties": headers},
            "bindings": _key_binding("Source position: topic/partition/offset."),
        }
    payload = {"$ref": f"#/components/schemas/{model.__name__}"}
    key = "The document's doc_id." if model is DocumentChange else "The query_id."
    return {"name": model.__name__, "summary": about, "payload": payload, "bindings": _key_binding(key)}


def _key_binding(about: str) -> dict[str, Any]:
    return {"kafka": {"key": {"type": "string", "description": about}}}


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def stale() -> list[str]:
    """Names of published files that don't say what the models say."""
    wanted = published()
    return [name for name, text in wanted.items() if not (FOLDER / name).exists() or (FOLDER / name).read_text() != text]


def main(arguments: list[str]) -> int:
    names = stale()
    if "--check" in arguments:
        sys.stdout.writelines(f"not current: {name}; run `python -m schemas.publish`\n" for name in names)
        return 1 if names else 0
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        (FOLDER / name).write_text(published()[name])
        sys.stdout.write(f"wrote {FOLDER.name}/{name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
