"""A server that keeps failing is not waited for, and is asked again by a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from connectors.milvus.errors import TooLate
from connectors.milvus.presence import FAILURES, FAIR_WAIT_S, Presence
from schemas.errors import Misconfigured, Retryable
from tests.waiting import wait_until


class Server:
    """Answers, or fails as told."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.asked = 0
        self.now_s = 0.0
        self.takes_s = 0.0

    def __call__(self) -> None:
        self.asked += 1
        self.now_s += self.takes_s
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def presence(server: Server) -> Iterator[Presence]:
    made = Presence("docs", server, clock=lambda: server.now_s)
    yield made
    made.close()


def search(presence: Presence, server: Server, times: int = 1) -> None:
    for _ in range(times):
        with suppress(Retryable), presence.search():
            server()


def test_one_failure_is_not_an_outage(presence: Presence, server: Server) -> None:
    """A segment that moves: failures that are not in a row change nothing."""
    for _ in range(5):
        server.failure = Retryable("moving")
        search(presence, server, FAILURES - 1)
        server.failure = None
        search(presence, server)
    assert not presence.is_away


def test_failures_in_a_row_end_the_waiting_until_it_answers(presence: Presence, server: Server) -> None:
    """Then searches fail without asking; the thread finds out that it is back, and they ask again."""
    server.failure = Retryable("away")
    search(presence, server, FAILURES)
    assert presence.is_away
    with pytest.raises(Retryable, match="does not answer searches of docs"), presence.search():
        pytest.fail("it was asked")
    server.failure = None
    wait_until(lambda: not presence.is_away, within_s=10, what="it to be asked again")
    with presence.search():
        pass


def test_short_patience_says_nothing_of_the_server(presence: Presence, server: Server) -> None:
    """Queries with no time left would else take the vectors from all the others."""
    server.failure, server.takes_s = TooLate("1 ms"), FAIR_WAIT_S / 2
    search(presence, server, 5 * FAILURES)
    assert not presence.is_away
    server.takes_s = FAIR_WAIT_S
    search(presence, server, FAILURES)
    assert presence.is_away


def test_one_that_refuses_is_there(presence: Presence, server: Server) -> None:
    """What the operator has to mend is for each search to tell."""
    server.failure = Retryable("away")
    search(presence, server, FAILURES)
    server.failure = Misconfigured("no such collection")
    wait_until(lambda: not presence.is_away, within_s=10, what="the refusal to count as an answer")


def test_closed_while_away(presence: Presence, server: Server) -> None:
    """The thread ends with it."""
    server.failure = Retryable("away")
    search(presence, server, FAILURES)
    presence.close()
    asked = server.asked
    presence.close()
    assert server.asked == asked
