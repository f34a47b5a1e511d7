"""Vectors of questions: those that arrive while the encoder is busy share its next batch, and recent ones are remembered.

One thread encodes. Equal questions are encoded once, whoever waits for them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from connectors.embedding.port import Embedder, Vector

CACHED_QUESTIONS: Final = 4096
MAX_BATCH: Final = 32
"""Questions encoded at once: more would make the first of them wait for the last."""


class _Waiter(NamedTuple):
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Vector]


class QuestionVectors:
    """Used from any event loop and any thread. `close` when nobody waits.

    Args:
        embedder: makes the vectors.
        gather_s: how long a question waits for others before the encoder starts; 0: whatever has arrived meanwhile goes along.
        size: how many recent questions are remembered.
    """

    def __init__(self, embedder: Embedder, gather_s: float = 0.0, size: int = CACHED_QUESTIONS) -> None:
        self._embedder = embedder
        self._gather_s = gather_s
        self._size = size
        self._lock = threading.Lock()
        self._vectors: OrderedDict[str, Vector] = OrderedDict()
        self._waiting: OrderedDict[str, list[_Waiter]] = OrderedDict()
        self._encoding: dict[str, list[_Waiter]] = {}
        self._closed = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="questions")

    def close(self) -> None:
        """End the thread. Whoever waits still, waits until their time is up."""
        self._closed.set()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def known(self, question: str) -> Vector | None:
        """Its vector, if it was asked for recently."""
        with self._lock:
            return self._known(question)

    async def vector_of(self, question: str, timeout_s: float) -> Vector:
        """Its vector, remembered or made now. Whoever is cancelled or late takes nothing from the others.

        Raises: TimeoutError; what the encoder raised of this question.
        """
        waiter = self._asked(question)
        if not isinstance(waiter, _Waiter):
            return waiter
        return await asyncio.wait_for(waiter.future, timeout_s)

    def _asked(self, question: str) -> Vector | _Waiter:
        with self._lock:
            vector = self._known(question)
            if vector is not None:
                return vector
            loop = asyncio.get_running_loop()
            waiter = _Waiter(loop, loop.create_future())
            if question in self._encoding:
                self._encoding[question].append(waiter)
                return waiter
            self._waiting.setdefault(question, []).append(waiter)
            self._thread.submit(self._encode_waiting)
            return waiter

    def _known(self, question: str) -> Vector | None:
        vector = self._vectors.get(question)
        if vector is not None:
            self._vectors.move_to_end(question)
        return vector

    # -- the thread that encodes

    def _encode_waiting(self) -> None:
        """Once for every question that was put in line; the first ones take the others along."""
        with self._lock:
            if not self._waiting:
                return
        if self._gather_s:
            self._closed.wait(self._gather_s)
        batch = self._take()
        if not batch:
            return
        try:
            vectors: list[Vector | BaseException] = [vector.copy() for vector in self._embedder.encode_queries(batch)]
        except Exception as exc:
            # One of them may be at fault: each gets its own error or its vector.
            vectors = [exc] if len(batch) == 1 else [self._alone(question) for question in batch]
        for question, vector in zip(batch, vectors, strict=True):
            self._settle(question, vector)

    def _take(self) -> list[str]:
        """The next batch. Questions that nobody waits for any more are dropped."""
        with self._lock:
            while self._waiting and len(self._encoding) < MAX_BATCH:
                question, waiters = self._waiting.popitem(last=False)
                if not all(waiter.future.done() for waiter in waiters):
                    self._encoding[question] = waiters
            return list(self._encoding)

    def _alone(self, question: str) -> Vector | BaseException:
        try:
            return self._embedder.encode_query(question)
        except Exception as exc:
            return exc

    def _settle(self, question: str, vector: Vector | BaseException) -> None:
        with self._lock:
            waiters = self._encoding.pop(question)
            if not isinstance(vector, BaseException):
                self._vectors[question] = vector
                if len(self._vectors) > self._size:
                    self._vectors.popitem(last=False)
        for waiter in waiters:
            if not waiter.loop.is_closed():
                waiter.loop.call_soon_threadsafe(_finish, waiter.future, vector)


def _finish(future: asyncio.Future[Vector], vector: Vector | BaseException) -> None:
    if future.done():
        return
    if isinstance(vector, BaseException):
        future.set_exception(vector)
    else:
        future.set_result(vector)
