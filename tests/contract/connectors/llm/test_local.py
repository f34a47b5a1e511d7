"""The real small model, in this process."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
import urllib.error
import urllib.request
from contextlib import aclosing
from pathlib import Path

import pytest

from connectors.llm import ChatRequest, Endpoint, EndpointChat, LocalModel, Turn, estimate_prompt
from connectors.llm.local import MODEL
from tests.contract.connectors.llm.calls import PATIENT, request, until, whole
from tests.contract.connectors.llm.conftest import needs_local

pytestmark = needs_local


def threads_of_this_process() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


def test_it_answers_from_what_it_is_told(local_endpoint: Endpoint) -> None:
    """A real sentence, counted by the model itself, the same each time at temperature 0."""
    asked = ChatRequest(
        (
            Turn("system", "Answer in one short sentence."),
            Turn("user", "The capital of France is Paris. What is the capital of France?"),
        ),
        max_tokens=24,
    )

    async def ask() -> None:
        chat = EndpointChat(local_endpoint, PATIENT)
        text, finish = await whole(chat, asked)
        assert "Paris" in text
        assert (finish.model, finish.is_estimated) == (MODEL, False)
        assert 0 < finish.prompt_tokens <= estimate_prompt(asked) + 20
        await chat.close()

    asyncio.run(ask())


def test_it_ends_with_its_line(local_endpoint: Endpoint) -> None:
    """What it would add is that again, or a question of its own."""

    async def ask() -> None:
        chat = EndpointChat(local_endpoint, PATIENT)
        text, finish = await whole(chat, request("Write a list of ten animals, one on each line.", 100))
        assert text.strip() and "\n" not in text
        assert finish.reason == "stop"
        await chat.close()

    asyncio.run(ask())


def test_who_stops_listening_frees_its_slot(local_endpoint: Endpoint) -> None:
    """More answers are given up than there are slots; the next one still comes within a second or two."""

    async def ask() -> None:
        chat = EndpointChat(local_endpoint, PATIENT)
        for _ in range(5):
            async with aclosing(chat.stream(request("Count to one thousand in words.", 1500), 20.0)) as stream:
                assert await anext(stream)
        text, _ = await whole(chat, request("Say yes.", 4))
        assert text
        await chat.close()

    asyncio.run(ask())


def test_only_this_process_may_ask_it(local_endpoint: Endpoint) -> None:
    """Others on the machine reach the port, not the model, nor what others asked it."""
    for path in ("chat/completions", "../slots", "../props"):
        url = f"{local_endpoint.base_url}/{path}".replace("/v1/..", "")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": "Bearer guess"}))
        assert refused.value.code in (401, 403, 404, 501)
        refused.value.close()


def test_it_starts_and_stops_without_a_trace() -> None:
    """Its threads end, signals stay ours, its port closes; stopped in the middle of an answer, too; and it starts again."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    before = threads_of_this_process()
    model = LocalModel(context_tokens=512)

    async def stop_halfway() -> None:
        chat = EndpointChat(model.start(), PATIENT)
        async with aclosing(chat.stream(request("Count to one thousand in words.", 400), 20.0)) as stream:
            assert await anext(stream)
            assert threads_of_this_process() <= before + 24
            began = time.monotonic()
            closing = threading.Thread(target=model.close)
            closing.start()
            await until(lambda: not closing.is_alive(), "it to stop")
            assert time.monotonic() - began < 5
        await chat.close()

    asyncio.run(stop_halfway())
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert threads_of_this_process() <= before + 1  # asyncio's own resolver thread may stay
    assert model.start().base_url == model.start().base_url
    model.close()
    model.close()
