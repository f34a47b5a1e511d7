"""Notes askers beside their answers: no answer waits for where that is kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from query_api.feedback.asked import AskedLog

MOST_WAITING: Final = 1_000
"""Notes that wait for a slow store; feedback on what isn't noted does not count."""

CLOSE_S: Final = 2.0


class Noting:
    """Used from any thread. One thread writes, in the order of the answers.

    Args:
        asked: where it is kept.
        dropped: told of each note for which there was no room.
    """

    def __init__(self, asked: AskedLog, dropped: Callable[[], None] = lambda: None) -> None:
        self._asked = asked
        self._dropped = dropped
        self._room = threading.BoundedSemaphore(MOST_WAITING)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="noting")

    def note(self, query_id: str, principals: Iterable[str], entry_id: str | None) -> None:
        """Remember soon who asked. Never blocks, never raises."""
        if not self._room.acquire(blocking=False):
            self._dropped()
            return
        try:
            self._thread.submit(self._write, query_id, tuple(principals), entry_id)
        except RuntimeError:  # closed: the process ends
            self._room.release()

    def close(self) -> None:
        """Write what waits, for `CLOSE_S` at most, then end. Never raises; may be called again."""
        with suppress(RuntimeError, TimeoutError):
            self._thread.submit(lambda: None).result(CLOSE_S)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write(self, query_id: str, principals: tuple[str, ...], entry_id: str | None) -> None:
        try:
            self._asked.note(query_id, principals, entry_id)
        finally:
            self._room.release()
