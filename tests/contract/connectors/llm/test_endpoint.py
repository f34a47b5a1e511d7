"""An OpenAI-compatible endpoint with all its moods, through the official client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import pytest

from connectors.llm import (
    EndpointChat,
    Finish,
    ModelFailed,
    ModelInterrupted,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    Patience,
)
from tests.contract.connectors.llm.calls import PATIENT, endpoint_chat, items, request, until, whole
from tests.contract.connectors.llm.scripted import (
    Behaviour,
    Exchange,
    breaks_after,
    chunk,
    fails,
    falls_silent,
    never_answers,
    never_ends,
    says,
    scripted,
    sends,
)

T = TypeVar("T")
EDGY = Patience(first_token_s=0.8, idle_s=0.8)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def failure_of(behaviour: Behaviour, patience: Patience = PATIENT, timeout_s: float = 10.0) -> tuple[ModelFailed, float]:
    """What asking an endpoint like this raises, and after how long."""

    async def ask() -> tuple[ModelFailed, float]:
        async with scripted(behaviour) as server:
            chat = endpoint_chat(server.url, patience)
            began = time.monotonic()
            with pytest.raises(ModelFailed) as failed:
                await items(chat, timeout_s=timeout_s)
            took_s = time.monotonic() - began
            await chat.close()
            return failed.value, took_s

    return run(ask())


def answer_of(*script: Behaviour, max_tokens: int = 50) -> tuple[str, Finish, list[dict[str, Any]]]:
    async def ask() -> tuple[str, Finish, list[dict[str, Any]]]:
        async with scripted(*script) as server:
            chat = endpoint_chat(server.url, api_key="sk-secret")
            text, finish = await whole(chat, request(max_tokens=max_tokens))
            await chat.close()
            assert set(server.keys) == {"Bearer sk-secret"}
            return text, finish, server.bodies

    return run(ask())


def test_text_ending_and_counts_are_passed_on() -> None:
    """A well-behaved endpoint: its text, its model's name, its counts."""
    text, finish, (body,) = answer_of(says("Hel", "lo."))
    assert (text, finish) == ("Hello.", Finish("stop", "scripted-model", 7, 3))
    assert (body["stream"], body["stream_options"], body["max_tokens"]) == (True, {"include_usage": True}, 50)
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


def test_an_endpoint_that_does_not_count_is_counted_for() -> None:
    """No usage: an estimate that says that it is one."""
    _, finish, _ = answer_of(says("Hel", "lo.", usage=None))
    assert finish.is_estimated
    assert finish.prompt_tokens >= 5
    assert finish.completion_tokens >= 2


@pytest.mark.parametrize(("reason", "ending"), [("length", "length"), ("content_filter", "filtered"), ("eos", "stop")])
def test_endings_are_told_apart(reason: str, ending: str) -> None:
    """Cut, withheld, or finished."""
    assert answer_of(says("x", reason=reason))[1].reason == ending


def test_a_stream_that_is_not_closed_after_its_end_holds_nobody_up() -> None:
    """The answer ended, counts never come, the connection stays open."""

    async def ends_but_stays(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.text("all")
        await exchange.event(chunk({}, "stop"))
        await asyncio.Event().wait()

    text, finish, _ = answer_of(ends_but_stays)
    assert (text, finish.is_estimated) == ("all", True)


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        ("stream_options", {"error": {"message": "Unrecognized request argument", "param": "stream_options"}}),
        ("stream_options", {"detail": [{"loc": ["body", "stream_options"], "msg": "extra fields not permitted"}]}),
        ("max_tokens", {"error": {"message": "Unsupported parameter: 'max_tokens'", "code": "unsupported_parameter"}}),
        ("temperature", {"error": {"message": "Unsupported value", "param": "temperature"}}),
    ],
)
def test_a_parameter_that_is_rejected_by_name_is_left_out(parameter: str, message: dict[str, Any]) -> None:
    """OpenAI's newer models and older servers take fewer parameters, or others."""
    text, _, (_, body) = answer_of(fails(400, message), says("ok"))
    assert text == "ok"
    assert parameter not in body
    assert (body.get("max_completion_tokens") == 50) == (parameter == "max_tokens")


def test_an_endpoint_that_ignores_the_limit_is_cut_off() -> None:
    """Text without end does not become memory without end."""
    text, finish, _ = answer_of(never_ends, max_tokens=2)
    assert finish.reason == "length"
    assert len(text) < 100


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (fails(500), ModelUnavailable),
        (fails(502), ModelUnavailable),
        (fails(503, retry_after="2"), ModelUnavailable),
        (fails(429), ModelRateLimited),
        (fails(429, {"error": {"message": "no money", "code": "insufficient_quota"}}), ModelRefused),
        (fails(401), ModelRefused),
        (fails(404), ModelRefused),
        (fails(400), ModelRefused),
        (breaks_after(), ModelUnavailable),
        (breaks_after("some"), ModelInterrupted),
        (sends(b"data: {nonsense\n\n"), ModelUnavailable),
        (sends(b"data: 42\n\n"), ModelUnavailable),
        (sends(b'data: {"choices": 3}\n\n'), ModelUnavailable),
        (sends(b'data: {"choices": [{"index": 0, "delta": {"content": 5}}]}\n\n'), ModelUnavailable),
        (sends(b"data: \xff\xfe\n\n"), ModelUnavailable),
        (sends(b"<html>welcome</html>"), ModelUnavailable),
        (sends(b""), ModelUnavailable),
        (sends(b'data: {"error": {"message": "overloaded", "code": 529}}\n\n'), ModelUnavailable),
    ],
)
def test_failures_are_told_apart(behaviour: Behaviour, kind: type[ModelFailed]) -> None:
    """By what can be done about them."""
    failed, took_s = failure_of(behaviour)
    assert type(failed) is kind
    assert took_s < 5


def test_an_answer_that_ends_without_saying_so_is_no_answer() -> None:
    """A proxy that closes politely halfway."""

    async def closes_politely(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.text("half of an")
        exchange.writer.write(b"0\r\n\r\n")

    assert isinstance(failure_of(closes_politely)[0], ModelInterrupted)


def test_nobody_there_is_unavailable() -> None:
    """Connection refused."""

    async def ask() -> ModelFailed:
        async with scripted() as server:
            url = server.url
        with pytest.raises(ModelUnavailable) as failed:
            await items(endpoint_chat(url))
        return failed.value

    assert "ConnectError" in str(run(ask()))


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [(never_answers, ModelTimeout), (falls_silent(), ModelTimeout), (falls_silent("some"), ModelInterrupted)],
)
def test_silence_ends_by_itself(behaviour: Behaviour, kind: type[ModelFailed]) -> None:
    """Before the first token and between tokens; comments and empty chunks are silence, too."""
    failed, took_s = failure_of(behaviour, EDGY)
    assert type(failed) is kind
    assert failed.waited_s == pytest.approx(0.8, abs=0.6)
    assert took_s < 4


@pytest.mark.parametrize("behaviour", [never_answers, falls_silent(), falls_silent("some"), never_ends])
def test_the_time_given_is_kept(behaviour: Behaviour) -> None:
    """Whatever the endpoint does, and however patient we would be."""
    failed, took_s = failure_of(behaviour, timeout_s=0.4)
    assert isinstance(failed, ModelTimeout | ModelInterrupted)
    assert 0.3 < took_s < 1.2


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry_after": "3"}, 3.0),
        ({"retry_after_ms": "250"}, 0.25),
        ({"retry_after": "in a minute"}, 60.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_understood_in_every_form(headers: dict[str, str], wait_s: float | None) -> None:
    """Seconds, milliseconds, a date; nonsense is nothing."""
    if headers == {"retry_after": "in a minute"}:
        headers = {"retry_after": format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)}
    failed, _ = failure_of(fails(429, None, **headers))
    assert failed.retry_after_s == (None if wait_s is None else pytest.approx(wait_s, abs=20 if wait_s == 60 else 0.01))


def test_what_an_endpoint_says_in_prose_is_not_repeated() -> None:
    """Some quote the prompt, which holds what not everyone may read; their codes are enough."""
    body = {"error": {"message": "bad input: THE SECRET PASSAGE", "code": "context_length_exceeded", "type": "x\ny"}}
    failed, _ = failure_of(fails(400, body))
    assert "SECRET" not in str(failed)
    assert "400 (context_length_exceeded)" in str(failed)


def test_credentials_in_the_address_are_not_repeated() -> None:
    """user:password@host."""

    async def ask() -> str:
        async with scripted(fails(500)) as server:
            with pytest.raises(ModelUnavailable) as failed:
                await items(endpoint_chat(server.url.replace("//", "//user:hunter2@")))
            return str(failed.value)

    assert "hunter2" not in run(ask())


async def _leave(chat: EndpointChat, how: str) -> None:
    stream = chat.stream(request(), 30.0)
    if how == "closed":
        assert await anext(stream) == "more "
        await stream.aclose()
        return
    began = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            began.set()

    task = asyncio.get_running_loop().create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("how", ["closed", "cancelled"])
def test_who_stops_listening_stops_the_endpoint(how: str) -> None:
    """Seen from the endpoint: the connection is closed at once."""

    async def ask() -> None:
        async with scripted(never_ends) as server:
            await _leave(endpoint_chat(server.url), how)
            await until(lambda: server.hung_up == 1, "the endpoint to see it")

    run(ask())


def test_giving_up_on_a_silent_endpoint_stops_it_too() -> None:
    """A timeout closes the connection as well."""

    async def ask() -> None:
        async with scripted(never_answers) as server:
            with pytest.raises(ModelTimeout):
                await items(endpoint_chat(server.url, EDGY))
            await until(lambda: server.hung_up == 1, "the endpoint to see it")

    run(ask())


def test_one_adapter_serves_several_event_loops() -> None:
    """HTTP and Kafka run in loops of their own."""
    chats: list[EndpointChat] = []

    async def ask() -> str:
        async with scripted() as server:
            if not chats:
                chats.append(endpoint_chat(server.url))
            chat = chats[0]
            if len(chats) == 1:
                chats.append(chat)
                text, _ = await whole(chat)
                await chat.close()
                return text
            with pytest.raises(ModelUnavailable):  # the first server is gone, and nothing worse
                await whole(chat)
            await chat.close()
            return "unavailable"

    assert run(ask()) == "one two three"
    assert run(ask()) == "unavailable"
