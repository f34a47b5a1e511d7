"""A stop signal that a signal handler or another thread sets and an event loop waits for."""

from __future__ import annotations

import asyncio
import threading


class StopSignal:
    """Set once, for good."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._event = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """From any thread, any number of times."""
        with self._lock:
            self._event.set()
            waiting, self._waiting = self._waiting, []
        for loop, event in waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    def block(self) -> None:
        """Until it is set, holding up this thread."""
        self._event.wait()

    async def wait(self) -> None:
        """Until it is set."""
        event = asyncio.Event()
        with self._lock:
            if self._event.is_set():
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()
