"""Models of all kinds, so that every contract test runs on each: an echo, an endpoint, one made steady, the real small model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from connectors.llm import ChatModel, CircuitBreaker, EchoChat, Endpoint, EndpointChat, Line, LocalModel, SteadyChat
from tests.contract.connectors.llm.calls import PATIENT, Seen, endpoint_chat
from tests.contract.connectors.llm.scripted import paced_echo, scripted

Opened = Callable[[], AbstractAsyncContextManager[ChatModel]]

try:
    LocalModel(1024)
    has_local = True
except Exception:  # whatever is missing: tests/unit say what
    has_local = False

needs_local = pytest.mark.skipif(not has_local, reason="needs scripts/install '.[local-llm]'")


@pytest.fixture(scope="session")
def local_endpoint() -> Iterator[Endpoint]:
    """The real model, served to all tests of the session."""
    model = LocalModel(context_tokens=2_048)
    yield model.start()
    model.close()


@pytest.fixture(params=["echo", "endpoint", "steady", pytest.param("local", marks=needs_local)])
def opened(request: pytest.FixtureRequest) -> Opened:
    """Opens a model in the running event loop. It takes a while over each word."""
    kind = request.param
    local = request.getfixturevalue("local_endpoint") if kind == "local" else None

    @asynccontextmanager
    async def open_it() -> AsyncIterator[ChatModel]:
        if kind == "echo":
            yield EchoChat(pace_s=0.002)
            return
        async with scripted(otherwise=paced_echo) as server:
            chat: ChatModel = endpoint_chat(server.url) if local is None else EndpointChat(local, PATIENT)
            if kind == "steady":
                chat = SteadyChat([Line("primary", chat, CircuitBreaker(3, 1.0))], 2, Seen())
            yield chat
            await chat.close()

    return open_it
