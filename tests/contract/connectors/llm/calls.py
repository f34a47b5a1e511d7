"""Asking a model in tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from connectors.llm import ChatModel, ChatRequest, Endpoint, EndpointChat, Finish, Patience, State, Turn

PATIENT = Patience(first_token_s=25.0, idle_s=25.0)


def request(text: str = "one two three", max_tokens: int = 50) -> ChatRequest:
    return ChatRequest((Turn("system", "Repeat."), Turn("user", text)), max_tokens)


def endpoint_chat(url: str, patience: Patience = PATIENT, **over: str) -> EndpointChat:
    return EndpointChat(Endpoint("primary", url, over.get("model", "m"), over.get("api_key")), patience)


async def items(chat: ChatModel, asked: ChatRequest | None = None, timeout_s: float = 25.0) -> list[str | Finish]:
    async with aclosing(chat.stream(asked or request(), timeout_s)) as pieces:
        return [piece async for piece in pieces]


async def whole(chat: ChatModel, asked: ChatRequest | None = None, timeout_s: float = 25.0) -> tuple[str, Finish]:
    *pieces, finish = await items(chat, asked, timeout_s)
    assert isinstance(finish, Finish)
    return "".join(str(piece) for piece in pieces), finish


class Seen:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.tries: list[tuple[str, str]] = []
        self.retries: list[tuple[str, str]] = []
        self.first_tokens: list[str] = []
        self.states: list[tuple[str, State]] = []

    def tried(self, endpoint: str, outcome: str) -> None:
        self.tries.append((endpoint, outcome))

    def retried(self, endpoint: str, code: str) -> None:
        self.retries.append((endpoint, code))

    def began(self, endpoint: str, first_token_s: float) -> None:
        assert first_token_s >= 0
        self.first_tokens.append(endpoint)

    def breaker(self, endpoint: str, state: State) -> None:
        self.states.append((endpoint, state))


async def until(condition: Callable[[], bool], what: str, within_s: float = 5.0) -> None:
    """Wait in the event loop that runs what is waited for."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110  what is waited for raises no event
                await asyncio.sleep(0.01)
    except TimeoutError:
        message = f"waited {within_s:g} s for {what}"
        raise AssertionError(message) from None
