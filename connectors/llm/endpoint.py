"""A model behind any OpenAI-compatible endpoint: OpenAI, vLLM, Ollama, LiteLLM, llama.cpp. One try; no retries of its own.

What endpoints don't agree on is found out by asking: parameters that one rejects by name are left out, or renamed, from then on.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import structlog

from connectors.llm.characters import WholeCharacters
from connectors.llm.errors import ModelFailed, ModelInterrupted, ModelTimeout, ModelUnavailable
from connectors.llm.port import ChatRequest, Ending, Finish
from connectors.llm.tokens import estimate_prompt, estimate_tokens
from connectors.llm.translation import described, translated, unwanted_parameter

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk

OPENAI_URL: Final = "https://api.openai.com/v1"
USAGE_GRACE_S: Final = 0.5
"""How long token counts are waited for once the answer has ended."""
CHARS_PER_TOKEN_MAX: Final = 32
"""No vocabulary's tokens are longer on average: an endpoint that sends more than this ignores `max_tokens`."""
NO_KEY: Final = "none"
"""The client insists on a key; endpoints without keys don't look at it."""

_ENDINGS: Final[dict[str, Ending]] = {"length": "length", "content_filter": "filtered"}

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is.

    Attributes:
        name: for logs and metrics.
        is_inside: it runs in this process: no proxy lies between.
    """

    name: str
    base_url: str
    model: str
    api_key: str | None = None
    is_inside: bool = False

    @property
    def place(self) -> str:
        """The URL without credentials."""
        url = urlsplit(self.base_url)
        return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long an endpoint may be silent: until its first token, and between tokens."""

    first_token_s: float
    idle_s: float


class EndpointChat:
    """The official client's streaming chat completion, with our own patience and errors. Contract: `ChatModel`."""

    def __init__(self, endpoint: Endpoint, patience: Patience) -> None:
        self._endpoint = endpoint
        self._patience = patience
        # A client's connections belong to the event loop that opened them.
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[AsyncOpenAI, AsyncGenerator[None, None]]]
        self._clients = WeakKeyDictionary()
        self._refused: frozenset[str] = frozenset()
        # It imports the parts of itself as they are used, for seconds on a busy machine: now, not in an event loop. The first
        # loop that asks takes it: what a client takes to make is not to be paid by a query that has just lost its first endpoint.
        spare = self._new_client()
        _ = spare.chat.completions
        self._spare = deque([spare])

    async def stream(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[str | Finish, None]:
        reading = _Reading(self._endpoint, self._patience, request, timeout_s)
        async with aclosing(self._chunks(request, reading)) as chunks:
            while not reading.is_over:
                try:
                    async with asyncio.timeout(reading.patience_s):
                        chunk = await anext(chunks, None)
                except TimeoutError as exc:
                    if reading.has_ended:
                        break
                    raise reading.failure(ModelTimeout(**reading.silence())) from exc
                except ModelFailed as exc:
                    if reading.has_ended:
                        break
                    raise reading.failure(exc) from exc.__cause__
                if chunk is None:
                    break
                text = reading.take(chunk)
                if text:
                    yield text
        yield reading.finish()

    async def close(self) -> None:
        kept = self._clients.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept[1].aclose()

    async def _chunks(self, request: ChatRequest, reading: _Reading) -> AsyncGenerator[ChatCompletionChunk, None]:
        """The stream's chunks; closed, it closes the HTTP stream. Raises: ModelFailed."""
        with translated(self._endpoint.place):
            stream: Any = await self._opened(request)
            try:
                chunks: AsyncIterator[ChatCompletionChunk] = stream.__aiter__()
                async for chunk in chunks:
                    yield chunk
            finally:
                # Not left to the iterator: it is closed only when it is collected.
                with suppress(OSError):
                    await stream.close()

    async def _opened(self, request: ChatRequest) -> Any:
        from openai import APIStatusError  # noqa: PLC0415  most processes never need it

        client = await self._client()
        while True:
            try:
                return await client.chat.completions.create(**self._body(request))
            except APIStatusError as exc:
                parameter = unwanted_parameter(exc)
                if parameter is None or parameter in self._refused:
                    raise
                _log.info("model_parameter_left_out", endpoint=self._endpoint.place, parameter=parameter)
                self._refused |= {parameter}

    def _body(self, request: ChatRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in request.turns],
            "stream": True,
            # OpenAI's newer models know only the second name, most others only the first.
            ("max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"): request.max_tokens,
        }
        if "temperature" not in self._refused:
            body["temperature"] = request.temperature
        if "stream_options" not in self._refused:
            body["stream_options"] = {"include_usage": True}
        return body

    async def _client(self) -> AsyncOpenAI:
        loop = asyncio.get_running_loop()
        kept = self._clients.get(loop)
        if kept is None:
            try:
                client = self._spare.pop()
            except IndexError:
                client = await asyncio.to_thread(self._new_client)  # it reads certificates
            if loop in self._clients:  # another call was first
                await client.close()
                return self._clients[loop][0]
            kept = self._clients[loop] = client, _closing(client)
            await anext(kept[1])
        return kept[0]

    def _new_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI, DefaultAsyncHttpx2Client  # noqa: PLC0415

        return AsyncOpenAI(
            api_key=self._endpoint.api_key or NO_KEY,
            base_url=self._endpoint.base_url,
            max_retries=0,
            timeout=None,  # every wait has a limit of ours
            http_client=DefaultAsyncHttpx2Client(trust_env=False, timeout=None) if self._endpoint.is_inside else None,
        )


async def _closing(client: AsyncOpenAI) -> AsyncGenerator[None, None]:
    """Closes `client` when it is closed itself, which an event loop that ends does with every generator left open in it."""
    try:
        yield
    finally:
        await client.close()


class _Reading:
    """One answer being read: what has come, and how long the next item may take."""

    def __init__(self, endpoint: Endpoint, patience: Patience, request: ChatRequest, timeout_s: float) -> None:
        self._endpoint = endpoint
        self._patience = patience
        self._request = request
        self._clock = asyncio.get_running_loop().time
        self._began = self._heard = self._clock()
        self._until = self._began + timeout_s
        self._due = min(self._until, self._began + patience.first_token_s)
        self._length = 0
        self._characters = WholeCharacters()
        self._text: list[str] = []
        self._reason: str | None = None
        self._usage: tuple[int, int] | None = None
        self._model = endpoint.model

    @property
    def has_ended(self) -> bool:
        """Whether the model said that it is done; only counts can follow."""
        return self._reason is not None

    @property
    def is_over(self) -> bool:
        return self.has_ended and self._usage is not None

    @property
    def patience_s(self) -> float:
        return max(0.0, self._due - self._clock())

    def silence(self) -> dict[str, Any]:
        waited_s = self._clock() - self._heard
        return {"detail": f"{self._endpoint.place}: no token for {waited_s:.1f} s", "waited_s": waited_s}

    def failure(self, error: ModelFailed) -> ModelFailed:
        """`error`, as it is told once text has been sent."""
        if not self._text:
            return error
        return ModelInterrupted(f"after {self._length} characters: {error}", waited_s=error.waited_s)

    def take(self, chunk: ChatCompletionChunk) -> str:
        """The text of a chunk; its other news are noted. Raises: ModelFailed, for what is no chunk."""
        try:
            text, is_alive = self._read(chunk)
        except (AttributeError, TypeError, ValueError, IndexError) as exc:
            raise self.failure(ModelUnavailable(f"{self._endpoint.place}: sent what is no chat completion")) from exc
        if is_alive:
            self._heard = self._clock()
            self._due = min(self._until, self._heard + self._patience.idle_s)
        if text:
            self._text.append(text)
            self._length += len(text)
            if self._length > self._request.max_tokens * CHARS_PER_TOKEN_MAX:
                self._reason, self._usage = "length", self._usage or (0, 0)
        if self.has_ended:
            self._due = min(self._until, self._clock() + USAGE_GRACE_S)
        return text

    def finish(self) -> Finish:
        """Raises: ModelFailed, where the stream ended without saying that the answer did."""
        if self._reason is None:
            raise self.failure(ModelUnavailable(f"{self._endpoint.place}: the stream ended before the answer did"))
        prompt, completion = self._usage or (0, 0)
        is_estimated = not (prompt or completion)
        if is_estimated:
            prompt, completion = estimate_prompt(self._request), estimate_tokens("".join(self._text))
        ending = _ENDINGS.get(self._reason, "stop")
        return Finish(ending, self._model, prompt, completion, is_estimated=is_estimated)

    def _read(self, chunk: ChatCompletionChunk) -> tuple[str, bool]:
        """Text, and whether the model made anything: reasoning that isn't shown is a sign of life, an empty chunk is none."""
        self._model = described(chunk.model, self._model)
        if chunk.usage is not None:
            self._usage = (int(chunk.usage.prompt_tokens), int(chunk.usage.completion_tokens))
        if not chunk.choices:
            return "", False
        choice = chunk.choices[0]
        delta: Any = choice.delta
        text = delta.content or ""
        if not isinstance(text, str):
            raise TypeError
        thought = getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None)
        self._reason = choice.finish_reason or self._reason
        return self._characters.feed(text), bool(text or thought)
