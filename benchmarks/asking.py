"""Asks a running server over HTTP as a service would: one kept connection a caller, JSON or server-sent events."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

TIMEOUT_S: Final = 30.0
ANSWERS: Final = "/v1/answers"


class Asked(NamedTuple):
    """One question and its answer, by the caller's clock.

    Attributes:
        first_delta_s: when the first piece of text had arrived; None without a stream.
    """

    began_s: float
    ended_s: float
    answer: dict[str, Any]
    first_delta_s: float | None = None

    @property
    def took_ms(self) -> float:
        return (self.ended_s - self.began_s) * 1000


class AskFailed(RuntimeError):
    """The server gave something else than an answer."""


class Caller:
    """One connection, used by one thread; anonymous without an API key."""

    def __init__(self, url: str, key: str = "") -> None:
        parts = urlsplit(url)
        self._credentials = {"Authorization": f"Bearer {key}"} if key else {}
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

    def close(self) -> None:
        self._connection.close()

    def ask(self, question: str, **more: object) -> Asked:
        """The answer as JSON. Raises: AskFailed."""
        body = json.dumps({"question": question, "stream": False, **more}).encode()
        began_s = time.perf_counter()
        response = self._post(body, "application/json")
        raw = response.read()
        ended_s = time.perf_counter()
        return Asked(began_s, ended_s, json.loads(raw))

    def stream(self, question: str, **more: object) -> Asked:
        """The same as events: when the first piece of text came, and the final event. Raises: AskFailed."""
        body = json.dumps({"question": question, "stream": True, **more}).encode()
        began_s = time.perf_counter()
        response = self._post(body, "text/event-stream")
        first_delta_s, final = None, None
        for name, data in events_in(response):
            if name == "delta" and first_delta_s is None:
                first_delta_s = time.perf_counter()
            if name == "final":
                final = json.loads(data)
        if final is None:
            msg = "the stream ended without a final event"
            raise AskFailed(msg)
        return Asked(began_s, time.perf_counter(), final, first_delta_s)

    def _post(self, body: bytes, accept: str) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": accept, **self._credentials}
        self._connection.request("POST", ANSWERS, body, headers)
        response = self._connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            msg = f"{response.status} {response.read()[:500].decode(errors='replace')}"
            raise AskFailed(msg)
        return response


def events_in(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Name and data of each server-sent event, as soon as its line of data is there. Comments are passed over."""
    name = "message"
    for raw in lines:
        field, _, value = raw.strip().partition(b":")
        if field == b"event":
            name = value.strip().decode()
        elif field == b"data":
            yield name, value.strip()
        elif not field and not value:
            name = "message"


def one_by_one(url: str, questions: Sequence[str], *, key: str = "", **more: object) -> list[Asked]:
    """One caller."""
    caller = Caller(url, key)
    try:
        return [caller.ask(question, **more) for question in questions]
    finally:
        caller.close()


def side_by_side(url: str, questions: Iterator[str], callers: int, seconds: float) -> tuple[list[Asked], float]:
    """`callers` at a time for `seconds`, each asking its next question as soon as it has its answer; and how long it all took.

    Raises: what a caller met.
    """
    lock, asked, failures = threading.Lock(), list[Asked](), list[BaseException]()
    began_s = time.perf_counter()

    def call() -> None:
        caller = Caller(url)
        try:
            while time.perf_counter() - began_s < seconds and not failures:
                with lock:
                    question = next(questions)
                one = caller.ask(question)
                with lock:
                    asked.append(one)
        except BaseException as exc:
            failures.append(exc)
        finally:
            caller.close()

    _all_at_once([call] * callers)
    if failures:
        raise failures[0]
    return asked, time.perf_counter() - began_s


def _all_at_once(actions: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=action, daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
