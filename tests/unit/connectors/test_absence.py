"""Who is away is asked by one thread, until it is back or nobody is interested any more."""

from __future__ import annotations

import threading

from connectors.absence import Absence
from tests.waiting import wait_until


class Server:
    """Counts how often it was asked, and by whom."""

    def __init__(self) -> None:
        self.is_there = False
        self.askers: list[str] = []
        self.told: list[bool] = []
        self.absence = Absence("knocking", self._answers, lambda _: self.told.append(self.absence.is_on))

    def _answers(self) -> bool:
        self.askers.append(threading.current_thread().name)
        return self.is_there


def test_one_thread_asks_until_it_is_back() -> None:
    """However many notice; its return is told while the server still counts as away, so that what is told comes first."""
    server = Server()
    assert [server.absence.begin() for _ in range(3)] == [True, False, False]
    wait_until(lambda: len(server.askers) >= 2, within_s=10, what="two questions")
    assert server.absence.is_on
    server.is_there = True
    wait_until(lambda: not server.absence.is_on, within_s=10, what="its return")
    assert (set(server.askers), server.told) == ({"knocking"}, [True])
    assert server.absence.begin()
    server.absence.close()


def test_closed_it_asks_no_more() -> None:
    """The thread has ended, and none is started again."""
    server = Server()
    server.absence.begin()
    server.absence.close()
    asked = len(server.askers)
    assert "knocking" not in {thread.name for thread in threading.enumerate()}
    assert not server.absence.begin()
    assert (server.absence.is_closed, len(server.askers)) == (True, asked)
    server.absence.close()
