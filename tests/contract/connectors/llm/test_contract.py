"""What every model keeps to, however it is reached."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest

from connectors.llm import Finish, ModelFailed, ModelInterrupted, ModelTimeout
from tests.contract.connectors.llm.calls import items, request, whole
from tests.contract.connectors.llm.conftest import Opened

LONG = "Tell me a very long story about a bank, a card, a lost telephone and a patient clerk. " * 10


def test_pieces_come_first_and_the_ending_last(opened: Opened) -> None:
    """Text in pieces that are never empty, then one Finish with counts."""

    async def ask() -> None:
        async with opened() as chat:
            *pieces, finish = await items(chat, request("one two three four", max_tokens=30))
        assert pieces
        assert all(isinstance(piece, str) and piece for piece in pieces)
        assert isinstance(finish, Finish)
        assert finish.model
        assert finish.prompt_tokens > 0
        assert finish.completion_tokens > 0
        assert (finish.retries, finish.is_fallback) == (0, False)

    asyncio.run(ask())


def test_an_answer_is_cut_at_its_longest_length_and_says_so(opened: Opened) -> None:
    """`max_tokens` holds."""

    async def ask() -> None:
        async with opened() as chat:
            text, finish = await whole(chat, request(LONG, max_tokens=3))
        assert finish.reason == "length"
        assert 0 < len(text.split()) <= 3

    asyncio.run(ask())


def test_one_model_serves_many_at_a_time(opened: Opened) -> None:
    """Nobody's text ends up with another."""

    async def ask() -> None:
        async with opened() as chat:
            both = await asyncio.gather(*(whole(chat, request(f"number {n} is mine", max_tokens=12)) for n in range(4)))
        assert all(text for text, _ in both)

    asyncio.run(ask())


def test_the_time_given_is_kept(opened: Opened) -> None:
    """A deadline that can't be met: a typed error, in time."""

    async def ask() -> None:
        async with opened() as chat:
            began = time.monotonic()
            with pytest.raises(ModelFailed) as failed:
                await items(chat, request(LONG, max_tokens=500), timeout_s=0.15)
            assert time.monotonic() - began < 1.15
        assert isinstance(failed.value, ModelTimeout | ModelInterrupted)

    asyncio.run(ask())


def test_a_call_that_is_closed_or_cancelled_leaves_the_model_usable(opened: Opened) -> None:
    """And nothing more comes of it."""

    async def ask() -> None:
        async with opened() as chat:
            async with aclosing(chat.stream(request(LONG, max_tokens=500), 20.0)) as stream:
                assert isinstance(await anext(stream), str)
            reading = asyncio.get_running_loop().create_task(items(chat, request(LONG, max_tokens=500)))
            await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            text, _ = await whole(chat, request("one two", max_tokens=8))
            assert text

    asyncio.run(ask())
