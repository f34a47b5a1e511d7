"""The scripted endpoint of the models' contract tests, in a thread of its own: for tests that ask over HTTP."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Self

from tests.contract.connectors.llm.scripted import Behaviour, ScriptedEndpoint, scripted


class ModelServer:
    """An endpoint whose behaviour a test may change at any moment."""

    def __init__(self, otherwise: Behaviour) -> None:
        self._otherwise = otherwise
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="model", daemon=True)
        self._serving = scripted(otherwise=otherwise)
        self.endpoint: ScriptedEndpoint

    @property
    def url(self) -> str:
        return self.endpoint.url

    def behave(self, behaviour: Behaviour) -> None:
        """From the next request on."""
        self.endpoint.otherwise = behaviour

    def __enter__(self) -> Self:
        self._thread.start()
        self.endpoint = asyncio.run_coroutine_threadsafe(self._serving.__aenter__(), self._loop).result(10)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        await self._serving.__aexit__(None, None, None)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
