"""Lets coroutines wait for a thread's next step."""

from __future__ import annotations

import asyncio
import threading


class Changes:
    """`next` on any event loop, `notify` from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    def next(self) -> asyncio.Future[None]:
        """Done at the next `notify` that begins after this call."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting = [entry for entry in self._waiting if not entry[1].done()]
            self._waiting.append((loop, future))
        return future

    def notify(self) -> None:
        """Wake everybody who waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
