"""A model as reliable as its endpoints allow: retries, a breaker for each, a second endpoint, one deadline for all of it.

Only what comes before the first piece of text is tried again. What was sent can't be sent otherwise: from then on a failure is
the caller's to explain.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Final, Protocol

import stamina

from connectors.llm.breaker import CircuitBreaker, State
from connectors.llm.errors import EndpointResting, ModelFailed, ModelInterrupted, ModelRefused, ModelTimeout, ModelUnavailable
from connectors.llm.port import ChatModel, ChatRequest, Finish

WAIT_INITIAL_S: Final = 0.1
WAIT_MAX_S: Final = 2.0
WAIT_JITTER_S: Final = 0.2
WORTH_TRYING_S: Final = 0.2
"""A try with less time than this is none."""
SHARE: Final = 0.6
"""Of the time left, what an endpoint may take to its first token while another one could be asked."""
FAIR_WAIT_S: Final = 1.0
"""Silence for less than this, because its asker had no more time, says nothing of an endpoint."""

_NO_VERDICT: Final = frozenset({"cancelled", ModelTimeout.code, ModelInterrupted.code})


class Observer(Protocol):
    """Is told what happens to calls, for metrics. Must not block or raise; called from event loops."""

    def tried(self, endpoint: str, outcome: str) -> None:
        """One call ended: `ok`, a `ModelFailed.code`, or `cancelled`."""
        ...

    def retried(self, endpoint: str, code: str) -> None:
        """It is called again, after it failed with `code`."""
        ...

    def began(self, endpoint: str, first_token_s: float) -> None:
        """The first piece of text came."""
        ...

    def breaker(self, endpoint: str, state: State) -> None:
        """The breaker may have changed."""
        ...


@dataclass(frozen=True, slots=True)
class Line:
    """One endpoint, and what keeps it from being asked in vain."""

    name: str
    chat: ChatModel
    breaker: CircuitBreaker


class SteadyChat:
    """Contract: `ChatModel`. Raises the last endpoint's failure.

    Args:
        lines: in the order in which they are asked.
        attempts: at one endpoint.
    """

    def __init__(
        self, lines: Sequence[Line], attempts: int, observer: Observer, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = tuple(lines)
        self._attempts = attempts
        self._observer = observer
        self._clock = clock

    async def stream(self, request: ChatRequest, timeout_s: float) -> AsyncGenerator[str | Finish, None]:
        call = _Call(request, self._clock() + timeout_s, self._clock)
        line, pieces = await self._begun(call)
        async with aclosing(pieces):
            self._observer.began(line.name, self._clock() - call.began)
            outcome, is_failure = "cancelled", False
            try:
                piece = call.first
                while not isinstance(piece, Finish):
                    yield piece
                    piece = call.told(await anext(pieces))
                outcome = "ok"  # whether or not its caller asks for more
                yield piece
            except ModelFailed as exc:
                outcome, is_failure = exc.code, _tells_of_endpoint(exc)
                raise
            finally:
                self._settle(line, outcome, is_failure=is_failure)

    async def close(self) -> None:
        for line in self._lines:
            await line.chat.close()

    async def _begun(self, call: _Call) -> tuple[Line, AsyncGenerator[str | Finish, None]]:
        """The stream of the first endpoint that says something; its first item is `call.first`. Raises: ModelFailed."""
        failure: ModelFailed = ModelTimeout("no time was left to ask a model")
        for number, line in enumerate(self._lines):
            is_last = number == len(self._lines) - 1
            left_s = call.left_s()
            if left_s < WORTH_TRYING_S and number:
                break
            call.is_fallback = number > 0
            try:
                return line, await self._tried(line, call, left_s if is_last else left_s * SHARE, is_last=is_last)
            except ModelFailed as exc:
                failure = exc
        raise failure

    async def _tried(self, line: Line, call: _Call, within_s: float, *, is_last: bool) -> AsyncGenerator[str | Finish, None]:
        until = self._clock() + within_s
        failures: list[ModelFailed] = []

        def again(exc: Exception) -> bool | float:
            """Whether to ask this endpoint once more; a number: after so many seconds."""
            if not isinstance(exc, ModelFailed) or isinstance(exc, ModelRefused | EndpointResting):
                return False
            failures.append(exc)
            if isinstance(exc, ModelTimeout) and not is_last:
                return False  # slow: another endpoint makes more of the time that is left
            if not is_last and (exc.retry_after_s or 0.0) > WAIT_MAX_S:
                return False  # it wants to be left alone for long: the same
            wait_s = exc.retry_after_s + random.uniform(0, WAIT_JITTER_S) if exc.retry_after_s else None
            longest_s = min(WAIT_MAX_S, WAIT_INITIAL_S * 2 ** (len(failures) - 1) + WAIT_JITTER_S) if wait_s is None else wait_s
            if self._clock() + longest_s + WORTH_TRYING_S > until:
                return False
            return True if wait_s is None else wait_s

        try:
            async for attempt in stamina.retry_context(
                on=again,
                attempts=self._attempts,
                timeout=None,  # `again` sees to it
                wait_initial=WAIT_INITIAL_S,
                wait_max=WAIT_MAX_S,
                wait_jitter=WAIT_JITTER_S,
            ):
                with attempt:
                    if failures:
                        call.retries += 1
                        self._observer.retried(line.name, failures[-1].code)
                    return await self._first(line, call, until)
        except EndpointResting as exc:
            if failures:
                raise failures[-1] from exc  # what this call saw itself says more
            raise
        msg = "a retry ends by returning or raising"
        raise AssertionError(msg)

    async def _first(self, line: Line, call: _Call, until: float) -> AsyncGenerator[str | Finish, None]:
        """One call, up to its first item. Its outcome, if it is one already, is told to breaker and observer."""
        if not line.breaker.allows():
            self._observer.breaker(line.name, line.breaker.state)
            msg = f"{line.name}: left alone for a while, it failed too often just now"
            raise EndpointResting(msg)
        asked_at = self._clock()
        pieces = line.chat.stream(call.request, call.left_s())
        outcome, is_failure = "cancelled", False
        try:
            async with asyncio.timeout(until - asked_at):
                call.first = call.told(await anext(pieces))
            outcome = ""
            return pieces
        except TimeoutError as exc:
            waited_s = self._clock() - asked_at
            outcome, is_failure = ModelTimeout.code, waited_s >= FAIR_WAIT_S
            msg = f"{line.name}: no token within {waited_s:.1f} s"
            raise ModelTimeout(msg, waited_s=waited_s) from exc
        except ModelFailed as exc:
            outcome, is_failure = exc.code, _tells_of_endpoint(exc)
            raise
        finally:
            if outcome:
                await pieces.aclose()
                self._settle(line, outcome, is_failure=is_failure)

    def _settle(self, line: Line, outcome: str, *, is_failure: bool) -> None:
        if is_failure:
            line.breaker.failed()
        elif outcome in _NO_VERDICT:
            line.breaker.abandoned()
        else:
            line.breaker.succeeded()  # a refusal or a rate limit is an answer, too: it is there
        self._observer.tried(line.name, outcome)
        self._observer.breaker(line.name, line.breaker.state)


class _Call:
    """What one call of `stream` knows."""

    def __init__(self, request: ChatRequest, until: float, clock: Callable[[], float]) -> None:
        self.request = request
        self.until = until
        self.began = clock()
        self.retries = 0
        self.is_fallback = False
        self.first: str | Finish = ""
        self._clock = clock

    def left_s(self) -> float:
        return max(0.0, self.until - self._clock())

    def told(self, piece: str | Finish) -> str | Finish:
        if isinstance(piece, Finish):
            return replace(piece, retries=self.retries, is_fallback=self.is_fallback)
        return piece


def _tells_of_endpoint(error: ModelFailed) -> bool:
    """Whether a failure is the endpoint's. Silence is only if it was waited for long enough."""
    if error.waited_s or isinstance(error, ModelTimeout):
        return error.waited_s >= FAIR_WAIT_S
    return isinstance(error, ModelUnavailable | ModelInterrupted)
