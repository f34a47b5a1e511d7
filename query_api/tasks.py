"""A bounded pool of tasks that keeps them and their errors; asking for a place in a full one waits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class TaskPool:
    """Runs coroutines side by side, `limit` at most. One event loop only."""

    def __init__(self, limit: int) -> None:
        self._places = asyncio.Semaphore(limit)
        self._running: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        return len(self._running)

    async def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start `work` as soon as there is a place. Its failure is logged: work answers for itself."""
        try:
            await self._places.acquire()
        except BaseException:
            work.close()
            raise
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)

    async def drain(self) -> None:
        """Wait until everything that was started has ended."""
        while self._running:
            await asyncio.wait(self._running)

    def cancel(self) -> None:
        """Give up whatever runs."""
        for task in self._running:
            task.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._places.release()
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("task_failed", exc_info=error)
