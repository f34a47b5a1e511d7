"""A model that says what it was told last, word by word: deterministic, for tests and for trying out the path without a model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Final

from connectors.llm.errors import ModelInterrupted, ModelTimeout
from connectors.llm.port import ChatRequest, Finish
from connectors.llm.tokens import estimate_prompt

ECHO: Final = "echo"
_WORD = re.compile(r"\s*\S+")


class EchoChat:
    """Repeats the last turn, at most `max_tokens` words of it.

    Args:
        pace_s: pause before each word.
    """

    def __init__(self, pace_s: float = 0.0) -> None:
        self._pace_s = pace_s

    async def stream(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[str | Finish, None]:
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        words = _WORD.findall(request.turns[-1].content)
        said = words[: request.max_tokens]
        for number, word in enumerate(said):
            left_s = until - loop.time()
            await asyncio.sleep(max(0.0, min(self._pace_s, left_s)))
            if left_s < self._pace_s or left_s <= 0:
                detail = f"{ECHO}: {timeout_s:g} s were not enough"
                raise (ModelInterrupted if number else ModelTimeout)(detail, waited_s=timeout_s)
            yield word
        yield Finish(
            "stop" if len(said) == len(words) else "length",
            ECHO,
            prompt_tokens=estimate_prompt(request),
            completion_tokens=len(said),
        )

    async def close(self) -> None:
        """Nothing to let go of."""
