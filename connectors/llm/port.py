"""The port to a language model: turns in, text out as it is made, at the end how it ended. Knows no prompts and no passages."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

Role = Literal["system", "user", "assistant"]
Ending = Literal["stop", "length", "filtered"]


class Turn(NamedTuple):
    """One turn of what the model is shown."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What is asked of a model.

    Attributes:
        max_tokens: the longest answer, in the model's tokens; an endpoint that goes on regardless is cut off.
    """

    turns: tuple[Turn, ...]
    max_tokens: int
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Finish:
    """How an answer ended, and what it took.

    Attributes:
        reason: length: it was cut at `max_tokens`; filtered: the endpoint withheld the rest.
        model: as the endpoint names it.
        is_estimated: the endpoint gave no token counts; these are guesses that lean high.
        retries: tries before the one that answered. is_fallback: another endpoint than the first one answered.
    """

    reason: Ending
    model: str
    prompt_tokens: int
    completion_tokens: int
    is_estimated: bool = False
    retries: int = 0
    is_fallback: bool = False


class ChatModel(Protocol):
    """Writes what follows a conversation. Used from any event loop, by many callers at a time."""

    def stream(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[str | Finish, None]:
        """Pieces of text as they are made, none of them empty, and one `Finish` as the last item.

        Returns or raises within `timeout_s`, counted from the first item asked for (give or take milliseconds, and the time its
        caller spends between items). Never blocks the event loop. Not idempotent: asked twice, a model may answer differently.

        Cancelled, or closed before its end (`contextlib.aclosing`; every caller does), it closes the HTTP stream at once,
        which is what stops an endpoint's work. Nothing is sent after that.

        Raises: ModelFailed: ModelInterrupted after the first piece, any other kind before it.
        """
        ...

    async def close(self) -> None:
        """Let go of this event loop's connections. Called in every loop that streamed, when nothing streams any more."""
        ...
