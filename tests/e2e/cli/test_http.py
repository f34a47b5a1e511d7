"""The HTTP interface of a running `up`: asked, published to, rated, as a service or a person would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI

from tests.e2e.cli.commands import Shell, Up, new_shell, up, write_docs
from tests.waiting import DeadlineExceededError, wait_until

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """With a key that may publish and ask."""
    return new_shell(tmp_path_factory.mktemp("http"), AUTH__API_KEYS_FILE="keys.yaml")


@pytest.fixture(scope="module")
def key(shell: Shell) -> str:
    words = ("keys", "create", "--principal", "user:maya", "--scope", "ask", "--scope", "publish:docs", "--append")
    made = shell.run(*words, "--json").json
    assert (shell.cwd / "keys.yaml").exists()
    return str(made["key"])


@pytest.fixture(scope="module")
def running(shell: Shell, key: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(shell, tmp_path_factory.mktemp("log") / "up.log") as whole:
        yield whole


@pytest.fixture
def anyone(running: Up) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.running.http, timeout=30) as client:
        yield client


@pytest.fixture
def maya(running: Up, key: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=running.running.http, timeout=30, headers={"Authorization": f"Bearer {key}"}) as client:
        yield client


def ask(client: httpx.Client, question: str, **fields: object) -> dict[str, object]:
    response = client.post("/v1/answers", json={"question": question, **fields})
    assert response.status_code == 200, response.text
    found: dict[str, object] = response.json()
    return found


def publish(client: httpx.Client, doc_id: str, text: str, acl: list[str]) -> str:
    change = {"doc_id": doc_id, "op": "upsert", "content": {"text": text}, "acl": acl, "event_time": "2026-11-24T10:00:00Z"}
    response = client.post("/v1/documents", json=change)
    assert response.status_code in (200, 202), response.text
    (token,) = response.json()["tokens"]
    return str(token)


def test_own_writes_are_read_and_nobody_elses_secrets(maya: httpx.Client, anyone: httpx.Client) -> None:
    """What Maya publishes for herself she is told at once, by her token; anyone else is told nothing of it."""
    token = publish(maya, "maya/locker", "The locker code of the gym is kept behind the blue towel.", ["user:maya"])
    question = "Where is the locker code of the gym kept?"
    assert "blue towel" in str(ask(maya, question, after=[token])["text"])
    other = ask(anyone, question)
    assert other["outcome"] == "unknown"
    assert "towel" not in json.dumps(other)


def test_publishing_needs_the_scope(anyone: httpx.Client) -> None:
    """401 with a remedy, as a problem document."""
    response = anyone.post("/v1/documents", json={"doc_id": "x", "op": "delete", "event_time": "2026-11-24T10:00:00Z"})
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] == "credentials_required"


def test_a_thumbs_down_takes_the_answer_out(maya: httpx.Client) -> None:
    """Answered, answered from memory, rated down by the asker: from then on it is made anew each time."""
    token = publish(maya, "lamps", "Lamps in the hall are switched off at midnight by the porter.", ["*"])
    question = "When are lamps in the hall switched off?"
    assert ask(maya, question, after=[token])["mode"] == "hybrid"
    remembered = ask(maya, question)
    assert remembered["mode"] == "cached"
    rated = maya.post("/v1/feedback", json={"query_id": remembered["query_id"], "rating": "down"})
    assert rated.status_code in (200, 202), rated.text
    try:
        wait_until(lambda: ask(maya, question)["mode"] == "hybrid", within_s=15, what="the thumbs-down to count")
    except DeadlineExceededError as exc:
        counted = [line for line in maya.get("/metrics").text.splitlines() if "feedback" in line or "cache" in line]
        msg = f"{exc}; {counted}"
        raise AssertionError(msg) from exc
    assert ask(maya, question)["mode"] == "hybrid"


def test_openais_client_streams(running: Up, key: str, shell: Shell, tmp_path: Path) -> None:
    """The official client, unchanged: deltas that join to the text, citations beside it."""
    shell.run("publish", str(write_docs(tmp_path / "d", boats="Boats may moor at the west pier until sunset.")), "--acl", "*")
    running.caught_up()
    client = OpenAI(base_url=f"{running.running.http}/v1", api_key=key)
    assert "ragstream" in [model.id for model in client.models.list()]
    messages = [{"role": "user", "content": "Until when may boats moor at the west pier?"}]
    whole = client.chat.completions.create(model="ragstream", messages=messages)  # type: ignore[arg-type]
    stream: Any = client.chat.completions.create(model="ragstream", messages=messages, stream=True)  # type: ignore[arg-type]
    said = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
    assert said == whole.choices[0].message.content
    assert "sunset" in said
    assert whole.model_extra is not None
    assert whole.model_extra["ragstream"]["citations"][0]["doc_id"] == "boats.md"


def test_it_says_how_it_is(anyone: httpx.Client) -> None:
    """Alive, ready, described."""
    assert anyone.get("/healthz").status_code == 200
    assert anyone.get("/readyz").json()["status"] == "ready"
    assert "/v1/answers" in anyone.get("/openapi.json").json()["paths"]
