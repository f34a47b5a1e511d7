"""Asking over HTTP: shapes, statuses, who asks, streams, and what ends them."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from query_api.http.models import AnswerRequest
from query_api.query import Listen
from schemas.acl import OPERATOR
from schemas.errors import Retryable
from schemas.queries import AnswerEvent, QueryRequest
from tests.unit.query_api.http.serving import Scripted, Site
from tests.waiting import wait_until

ASK = {"question": "How do I change my PIN?"}


async def never(_: Listen | None) -> None:
    await asyncio.Event().wait()


def events(body: str) -> list[tuple[str, Any]]:
    """The server-sent events of a stream, comments left out."""
    found = []
    for block in body.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        if "data" in fields:
            found.append((fields.get("event", ""), orjson.loads(fields["data"]) if fields["data"] != "[DONE]" else "[DONE]"))
    return found


def test_an_answer_is_the_final_event(tmp_path: Path) -> None:
    """JSON in, AnswerEvent out, with an id for the query and one for the request."""
    response = Site(tmp_path, Scripted("Tap Cards.")).post("/v1/answers", ASK)
    assert response.status_code == 200
    event = AnswerEvent.from_bytes(response.content)
    assert (event.outcome, event.text) == ("answered", "Tap Cards.")
    assert len(event.query_id) == 32
    assert response.headers["x-request-id"]


def test_who_asks_comes_from_credentials_alone(tmp_path: Path) -> None:
    """Anonymous has nothing, a key its principals, an operator the operator's; the body can't say."""
    pipeline = Scripted("x")
    site = Site(tmp_path, pipeline)
    for key in (None, site.maya, site.operator):
        site.post("/v1/answers", ASK, key)
    assert [request.principals for request in pipeline.asked] == [
        (),
        ("group:hr", "user:maya"),
        ("user:root", OPERATOR),
    ]
    for field in ("principals", "token", "reply_to"):
        assert site.post("/v1/answers", {**ASK, field: "user:root"}).json()["code"] == "invalid"


def test_http_takes_every_field_of_a_request_but_those_the_server_fills() -> None:
    """A field added to QueryRequest is not forgotten here."""
    filled = {"schema_version", "principals", "reply_to", "token"}
    assert AnswerRequest.model_fields.keys() - {"timeout_ms"} == QueryRequest.model_fields.keys() - filled


@pytest.mark.parametrize(
    ("outcome", "reason", "status"),
    [
        ("unknown", None, 200),
        ("rejected", "unknown_index", 422),
        ("rejected", "something_new", 422),
        ("expired", "deadline_passed", 504),
        ("failed", "not_yet", 503),
        ("failed", "some_new_failure", 503),
        ("failed", "internal_error", 500),
    ],
)
def test_an_outcome_has_its_status_and_code(tmp_path: Path, outcome: str, reason: str | None, status: int) -> None:
    """Streams too, as long as nothing was sent; the problem carries the event."""
    site = Site(tmp_path, Scripted(text="", outcome=outcome, reason=reason, error="why"))
    for accept in ("application/json", "text/event-stream"):
        response = site.post("/v1/answers", ASK, headers={"Accept": accept})
        assert response.status_code == status
        if status != 200:
            problem = response.json()
            assert response.headers["content-type"] == "application/problem+json"
            assert (problem["code"], problem["detail"], problem["status"]) == (reason, "why", status)
            assert problem["answer"]["outcome"] == outcome


def test_a_stream_has_deltas_resets_and_the_final_event(tmp_path: Path) -> None:
    """A higher attempt is told before its first delta."""

    async def again(listen: Listen | None) -> None:
        assert listen is not None
        await listen(AnswerEvent(query_id="q", kind="delta", attempt=2, seq=0, delta="new"))

    pipeline = Scripted("old ", "text", text="new", attempt=2)
    pipeline.before_final = again
    response = Site(tmp_path, pipeline).post("/v1/answers", {**ASK, "stream": True})
    assert response.headers["content-type"] == "text/event-stream"
    names = [name for name, _ in events(response.text)]
    assert names == ["delta", "delta", "reset", "delta", "final"]
    assert events(response.text)[0][1] == {"attempt": 1, "seq": 0, "text": "old "}
    assert events(response.text)[-1][1]["text"] == "new"


@pytest.mark.parametrize(("field", "header"), [({"timeout_ms": 100}, {}), ({}, {"X-Timeout-Ms": "100"})])
def test_the_response_comes_by_the_deadline_whatever_the_pipeline_does(
    tmp_path: Path, field: dict[str, int], header: dict[str, str]
) -> None:
    """A pipeline that hangs is cut off, and stops."""
    pipeline = Scripted()
    pipeline.before_final = never
    began = time.monotonic()
    response = Site(tmp_path, pipeline).post("/v1/answers", {**ASK, **field}, headers=header)
    assert (response.status_code, response.json()["code"]) == (504, "deadline_passed")
    assert time.monotonic() - began < 3
    assert pipeline.cancelled == 1


def test_ids_are_the_callers_where_it_sends_one(tmp_path: Path) -> None:
    """In the body or as Idempotency-Key; two different ones are refused."""
    site = Site(tmp_path, pipeline := Scripted("x"))
    assert site.post("/v1/answers", {**ASK, "query_id": "a"}).json()["query_id"] == "a"
    assert site.post("/v1/answers", ASK, headers={"Idempotency-Key": "b"}).json()["query_id"] == "b"
    conflict = site.post("/v1/answers", {**ASK, "query_id": "a"}, headers={"Idempotency-Key": "b"})
    assert conflict.json()["code"] == "query_id_conflict"
    assert site.post("/v1/answers", ASK).json()["query_id"]
    assert pipeline.repeatable == [True, True, False]  # what got its id here can't be sent again by it


def test_scopes_are_asked_for(tmp_path: Path) -> None:
    """A publisher's key can't ask; nobody anonymous publishes or reads metrics."""
    site = Site(tmp_path, Scripted("x"))
    assert site.post("/v1/answers", ASK, site.publisher).status_code == 403
    change = {"op": "delete", "doc_id": "a"}
    assert site.post("/v1/documents", change).status_code == 401
    assert site.post("/v1/documents", change, site.maya).json()["code"] == "scope_missing"
    assert site.post("/v1/documents", {**change, "index": "hr"}, site.publisher).status_code == 403
    assert site.post("/v1/documents", {**change, "index": "none-such"}, site.publisher).status_code == 403
    assert site.post("/v1/documents", {**change, "index": "none-such"}, site.operator).json()["code"] == "unknown_index"
    assert site.call("GET", "/metrics").status_code == 401
    assert site.call("GET", "/metrics", site.maya).status_code == 403
    assert "rag_http_requests_total" in site.call("GET", "/metrics", site.operator).text
    assert not site.sinks.changes


@pytest.mark.parametrize("header", ["Bearer nope", "Bearer", "Basic eDp5", "Bearer rsk_000000000000_" + "A" * 43, ""])
def test_bad_credentials_are_never_taken_for_none(tmp_path: Path, header: str) -> None:
    """401 with a challenge, on every route that looks at them."""
    pipeline = Scripted("x")
    site = Site(tmp_path, pipeline)
    for path in ("/v1/answers", "/v1/search", "/v1/feedback"):
        response = site.post(path, ASK, headers={"Authorization": header})
        assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
    assert not pipeline.asked


def test_documents_come_back_as_tokens_in_order(tmp_path: Path) -> None:
    """One change or a list; all are checked before one is published."""
    site = Site(tmp_path, Scripted())
    changes = [{"op": "upsert", "doc_id": f"d{n}", "content": {"text": "x"}} for n in range(3)]
    response = site.post("/v1/documents", changes, site.publisher).json()
    assert (response["accepted"], len(set(response["tokens"]))) == (3, 3)
    assert site.post("/v1/documents", changes[0], site.publisher).json()["accepted"] == 1
    assert site.post("/v1/documents", [*changes, {"op": "upsert", "doc_id": ""}], site.publisher).status_code == 422
    assert site.post("/v1/documents", [changes[0]] * 101, site.publisher).status_code == 422
    assert site.post("/v1/documents", [], site.publisher).status_code == 422
    assert len(site.sinks.changes) == 4
    site.sinks.failure = Retryable("Kafka is away")
    assert site.post("/v1/documents", changes[0], site.publisher).json()["code"] == "not_acknowledged"


def test_feedback_carries_the_caller_whatever_the_body_says(tmp_path: Path) -> None:
    """The principal is the server's to fill in; anonymous is everyone; the reply is the same for any query id."""
    site = Site(tmp_path, Scripted())
    body = {"query_id": "q", "rating": "down"}
    assert site.post("/v1/feedback", body, site.maya).status_code == 202
    assert site.post("/v1/feedback", body).json() == {"query_id": "q"}
    assert site.post("/v1/feedback", {**body, "principal": "user:root"}).status_code == 422
    assert [feedback.principal for feedback in site.sinks.given] == ["user:maya", "*"]


def test_ready_says_what_it_waits_for(tmp_path: Path) -> None:
    """503 while something is waited for."""
    site = Site(tmp_path, Scripted())
    assert site.call("GET", "/readyz").json() == {"status": "ready", "waiting_for": {}}
    site.waiting = {"view": "reading"}
    response = site.call("GET", "/readyz")
    assert (response.status_code, response.json()["waiting_for"]) == (503, {"view": "reading"})
    assert site.call("GET", "/healthz").json() == {"status": "alive"}


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "code"),
    [
        ("GET", "/nowhere", None, {}, "not_found"),
        ("GET", "/v1/answers", None, {}, "method_not_allowed"),
        ("POST", "/v1/answers", b"{}", {"Content-Type": "text/plain"}, "unsupported_media_type"),
        ("POST", "/v1/answers", b"{}", {"Content-Type": "application/json; charset=latin-1"}, "unsupported_media_type"),
        ("POST", "/v1/answers", b"{", {"Content-Type": "application/json"}, "not_json"),
        ("POST", "/v1/answers", b"[" * 100_000, {"Content-Type": "application/json"}, "not_json"),
        ("POST", "/v1/answers", b'{"question": "\xff"}', {"Content-Type": "application/json"}, "not_json"),
        ("POST", "/v1/answers", b"{}", {"Content-Type": "application/json"}, "invalid"),
        ("POST", "/v1/answers", b'{"question": "x"}' + b" " * 2**21, {"Content-Type": "application/json"}, "body_too_large"),
    ],
)
def test_what_can_not_be_taken_is_a_problem(
    tmp_path: Path, method: str, path: str, content: bytes | None, headers: dict[str, str], code: str
) -> None:
    """Each with its stable code and a remedy."""
    site = Site(tmp_path, Scripted("x"), http={"max_body_kib": 1024})
    response = site.call(method, path, content=content, headers=headers)
    problem = response.json()
    assert (problem["code"], problem["status"]) == (code, response.status_code)
    assert problem["remedy"]
    assert response.headers["content-type"] == "application/problem+json"


def test_a_chunked_body_is_bounded_too(tmp_path: Path) -> None:
    """Nobody needs to say how long it is."""

    async def endless() -> Any:
        while True:
            yield b" " * 65_536

    response = Site(tmp_path, Scripted("x"), http={"max_body_kib": 256}).call(
        "POST", "/v1/answers", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert response.json()["code"] == "body_too_large"


def test_an_error_inside_tells_nothing_of_it(tmp_path: Path) -> None:
    """500 with the request's id."""
    site = Site(tmp_path, Scripted())
    site.sinks.failure = RuntimeError("secret")
    response = site.post("/v1/feedback", {"query_id": "q", "rating": "up"}, headers={"X-Request-ID": "mine"})
    assert (response.status_code, response.json()["code"], response.json()["request_id"]) == (500, "internal_error", "mine")
    assert "secret" not in response.text


# -- served


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_stops_the_work(tmp_path: Path, stream: bool) -> None:
    """The answerer is cancelled, for streams and for JSON."""
    pipeline = Scripted("first ")
    pipeline.before_final = never
    with Site(tmp_path, pipeline, deadline_s=20).served() as service:
        with socket.create_connection(("127.0.0.1", int(service.url.rsplit(":", 1)[1]))) as connection:
            body = orjson.dumps({**ASK, "stream": stream})
            opening = "POST /v1/answers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            head = f"{opening}Content-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            wait_until(lambda: pipeline.asked, within_s=5, what="the question")
            if stream:
                received = b""
                while b"event: delta" not in received:
                    received += connection.recv(4096)
        wait_until(lambda: pipeline.cancelled == 1, within_s=5, what="the answerer to be cancelled")


def test_too_many_at_once_are_told_to_come_again(tmp_path: Path) -> None:
    """503 with Retry-After; the place is free again once its client has left."""
    pipeline = Scripted("first ")
    pipeline.before_final = never
    with (
        Site(tmp_path, pipeline, http={"concurrency": 1}, deadline_s=20).served() as service,
        httpx.Client(base_url=service.url) as client,
    ):
        with client.stream("POST", "/v1/answers", json={**ASK, "stream": True}) as stream:
            parts = stream.iter_bytes()
            next(parts)
            refused = client.post("/v1/answers", json=ASK)
            assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        wait_until(lambda: pipeline.cancelled == 1, within_s=5, what="the place")
        pipeline.before_final = None
        assert client.post("/v1/answers", json=ASK).status_code == 200


def test_one_caller_leaves_places_to_others(tmp_path: Path) -> None:
    """429 with Retry-After for who holds their share, be it by streams or searches; all who are anonymous share one."""
    pipeline = Scripted("first ")
    pipeline.before_final = never
    site = Site(tmp_path, pipeline, http={"concurrency": 4, "caller_share": 0.5}, deadline_s=20)
    maya = {"Authorization": f"Bearer {site.maya.key}"}
    streaming = {**ASK, "stream": True}
    with site.served() as service, httpx.Client(base_url=service.url) as client, ExitStack() as open_streams:

        def stream(headers: dict[str, str]) -> tuple[httpx.Response, Iterator[bytes]]:
            response = open_streams.enter_context(client.stream("POST", "/v1/answers", json=streaming, headers=headers))
            parts = response.iter_bytes()
            next(parts)
            return response, parts

        anonymous = [stream({}) for _ in range(2)]
        for path in ("/v1/answers", "/v1/search", "/v1/chat/completions"):
            body = {"messages": [{"role": "user", "content": "PIN?"}], "model": "ragstream"} if "chat" in path else ASK
            refused = client.post(path, json=body)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_of_caller")
            assert refused.headers["retry-after"] == "1"
        others = [stream(maya) for _ in range(2)]
        assert [response.status_code for response, _ in others] == [200, 200]
        refused = client.post("/v1/answers", json=ASK, headers=maya)
        assert (refused.status_code, refused.json()["code"]) == (503, "overloaded"), "the server's own limit comes first"
        anonymous[0][0].close()
        wait_until(lambda: pipeline.cancelled == 1, within_s=5, what="the place")
        pipeline.before_final = None
        assert client.post("/v1/answers", json=ASK).status_code == 200


def test_stopping_takes_seconds_with_streams_open(tmp_path: Path) -> None:
    """They end in a final event that says so."""
    pipeline = Scripted("first ")
    pipeline.before_final = never
    site = Site(tmp_path, pipeline, deadline_s=25)
    with site.served() as service, httpx.Client(base_url=service.url, timeout=20) as client:
        with client.stream("POST", "/v1/answers", json={**ASK, "stream": True}) as stream:
            parts = stream.iter_text()
            received = next(parts)
            began = time.monotonic()
            service.stop()
            assert time.monotonic() - began < 6
            received += "".join(parts)
        assert events(received)[-1][1]["reason"] == "stopping"
    assert service.error is None
    assert pipeline.cancelled == 1


def test_a_silent_stream_is_kept_alive(tmp_path: Path) -> None:
    """Comments, before the first delta as well."""
    pipeline = Scripted()
    pipeline.before_final = never
    site = Site(tmp_path, pipeline, http={"keep_alive_s": 0.05}, deadline_s=0.5)
    response = site.post("/v1/answers", {**ASK, "stream": True})
    assert response.text.count(": keep-alive") >= 3
    assert events(response.text)[-1][1]["outcome"] == "expired"


def test_thirty_two_streams_at_once(tmp_path: Path) -> None:
    """Each gets its own answer, whole."""

    async def ask_all(url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as client:
            answers = [client.post("/v1/answers", json={**ASK, "stream": True, "query_id": f"q{n}"}) for n in range(32)]
            return [response.text for response in await asyncio.gather(*answers)]

    with Site(tmp_path, Scripted(*"abcdefgh")).served() as service:
        bodies = asyncio.run(ask_all(service.url))
    for n, body in enumerate(bodies):
        *deltas, (name, final) = events(body)
        assert (name, final["query_id"], final["text"]) == ("final", f"q{n}", "abcdefgh")
        assert "".join(delta["text"] for _, delta in deltas) == "abcdefgh"


def test_a_slow_sender_holds_up_nobody(tmp_path: Path) -> None:
    """Half a head, half a body: others are answered meanwhile, and the server ends in time."""
    with Site(tmp_path, Scripted("x")).served() as service:
        address = ("127.0.0.1", int(service.url.rsplit(":", 1)[1]))
        with socket.create_connection(address) as head, socket.create_connection(address) as body:
            head.sendall(b"POST /v1/answers HTTP/1.1\r\nHos")
            body.sendall(
                b"POST /v1/answers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
            )
            assert httpx.post(f"{service.url}/v1/answers", json=ASK).status_code == 200
            began = time.monotonic()
            service.stop()
            assert time.monotonic() - began < 8
