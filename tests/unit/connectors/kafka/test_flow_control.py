"""The accounting that keeps the embedded broker from dropping what is unread."""

import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from connectors.kafka.errors import Backpressure
from connectors.kafka.flow_control import Backlog
from schemas.errors import Rejected
from tests.waiting import wait_until

TOPIC = "rag.documents"
MAX_BYTES = 100
MAX_MESSAGES = 5


def make_backlog(*consumers: str) -> Backlog:
    """A small one, on which these consumers are registered."""
    backlog = Backlog(MAX_BYTES, MAX_MESSAGES)
    for consumer in consumers:
        backlog.register(TOPIC, consumer)
    return backlog


def send(backlog: Backlog, nbytes: int, offset: int, timeout: float = 0) -> None:
    """Admit and deliver one message."""
    backlog.admit(TOPIC, 0, nbytes, timeout)
    backlog.delivered(TOPIC, 0, nbytes, offset)


def test_bytes_that_nobody_has_read_hold_the_producer_back() -> None:
    """The error says who is behind, and when to come back."""
    backlog = make_backlog("lane")
    send(backlog, 60, 0)
    with pytest.raises(Backpressure, match=r"rag\.documents\[0\]: lane has yet to read 1 messages, 60 bytes") as raised:
        backlog.admit(TOPIC, 0, 60, 0)
    assert raised.value.retry_after_s > 0


def test_messages_that_nobody_has_read_hold_the_producer_back() -> None:
    """Many small ones count too."""
    backlog = make_backlog("lane")
    for offset in range(MAX_MESSAGES):
        send(backlog, 1, offset)
    with pytest.raises(Backpressure):
        backlog.admit(TOPIC, 0, 1, 0)


def test_room_can_be_waited_for_without_taking_it() -> None:
    """What is larger than all room waits until there is nothing unread; nothing is reserved."""
    backlog = make_backlog("lane")
    backlog.await_room(TOPIC, 0, 2 * MAX_BYTES, 0)
    backlog.admit(TOPIC, 0, MAX_BYTES, 0)
    backlog.delivered(TOPIC, 0, MAX_BYTES, 0)
    with pytest.raises(Backpressure):
        backlog.await_room(TOPIC, 0, 1, 0)
    backlog.progressed(TOPIC, "lane", 0, 1)
    backlog.await_room(TOPIC, 0, 2 * MAX_BYTES, 0)


def test_partitions_are_apart() -> None:
    """A full partition holds only itself back."""
    backlog = make_backlog("lane")
    send(backlog, 100, 0)
    backlog.admit(TOPIC, 1, 100, 0)


def test_the_slowest_consumer_counts() -> None:
    """Room is made when the last one has read."""
    backlog = make_backlog("lane", "view")
    send(backlog, 100, 0)
    backlog.progressed(TOPIC, "lane", 0, 1)
    with pytest.raises(Backpressure, match="view has yet to read"):
        backlog.admit(TOPIC, 0, 1, 0)
    backlog.progressed(TOPIC, "view", 0, 1)
    backlog.admit(TOPIC, 0, 1, 0)


def test_a_consumer_that_leaves_holds_nobody_back() -> None:
    """Nor does a topic without consumers."""
    backlog = make_backlog("lane")
    send(backlog, 100, 0)
    backlog.unregister(TOPIC, "lane")
    assert backlog.unread(TOPIC, 0) == (0, 0)
    send(backlog, 100, 1)
    send(backlog, 100, 2)


def test_a_message_larger_than_the_room_is_refused() -> None:
    """Waiting would never help."""
    with pytest.raises(Rejected, match="101 bytes"):
        make_backlog("lane").admit(TOPIC, 0, MAX_BYTES + 1, 10)


def test_a_failed_delivery_gives_its_room_back() -> None:
    """It is not in the log, so nobody has to read it."""
    backlog = make_backlog("lane")
    backlog.admit(TOPIC, 0, 100, 0)
    backlog.failed(TOPIC, 0, 100)
    backlog.admit(TOPIC, 0, 100, 0)


def test_a_consumer_may_be_quicker_than_the_delivery_report() -> None:
    """What is reported delivered below its position is read already."""
    backlog = make_backlog("lane")
    backlog.admit(TOPIC, 0, 100, 0)
    backlog.progressed(TOPIC, "lane", 0, 1)
    backlog.delivered(TOPIC, 0, 100, 0)
    assert backlog.unread(TOPIC, 0) == (0, 0)


def test_a_waiting_producer_goes_on_when_room_is_made() -> None:
    """It is woken, not polled."""
    backlog = make_backlog("lane")
    send(backlog, 100, 0)
    admitted = threading.Event()

    def admit() -> None:
        backlog.admit(TOPIC, 0, 100, 10)
        admitted.set()

    waiting = threading.Thread(target=admit)
    waiting.start()
    assert not admitted.is_set()
    backlog.progressed(TOPIC, "lane", 0, 1)
    wait_until(admitted.is_set, within_s=5, what="the producer to be admitted")
    waiting.join()


@given(st.lists(st.integers(min_value=1, max_value=MAX_BYTES), max_size=40))
def test_everything_gets_through_to_a_consumer_that_reads(sizes: list[int]) -> None:
    """Whatever the sizes: there is no deadlock, and no room leaks away."""
    backlog = make_backlog("lane")
    position = 0
    for offset, nbytes in enumerate(sizes):
        while True:
            try:
                send(backlog, nbytes, offset)
                break
            except Backpressure:
                position += 1
                backlog.progressed(TOPIC, "lane", 0, position)
    backlog.progressed(TOPIC, "lane", 0, len(sizes))
    assert backlog.unread(TOPIC, 0) == (0, 0)


class BrokerModel(RuleBasedStateMachine):
    """A log that drops its oldest messages, two consumers, any interleaving: nothing unread is ever dropped."""

    def __init__(self) -> None:
        super().__init__()
        self.backlog = make_backlog("lane", "view")
        self.log: deque[tuple[int, int]] = deque()
        self.in_flight: list[int] = []
        self.sent: list[int] = []
        self.end = 0
        self.start = 0
        self.positions = {"lane": 0, "view": 0}

    @rule(nbytes=st.integers(min_value=1, max_value=MAX_BYTES))
    def produce(self, nbytes: int) -> None:
        try:
            self.backlog.admit(TOPIC, 0, nbytes, 0)
        except Backpressure:
            return
        self.in_flight.append(nbytes)

    @precondition(lambda self: self.in_flight)
    @rule()
    def fail(self) -> None:
        self.backlog.failed(TOPIC, 0, self.in_flight.pop(0))

    @precondition(lambda self: self.in_flight)
    @rule(markers=st.integers(min_value=0, max_value=2))
    def arrive(self, markers: int) -> None:
        nbytes = self.in_flight.pop(0)
        self.log.append((self.end, nbytes))
        self.sent.append(self.end)
        while sum(size for _, size in self.log) > MAX_BYTES or len(self.log) > MAX_MESSAGES:
            self.log.popleft()
        self.start = self.log[0][0]
        self.backlog.delivered(TOPIC, 0, nbytes, self.end)
        self.end += 1 + markers

    @rule(consumer=st.sampled_from(["lane", "view"]), steps=st.integers(min_value=1, max_value=4))
    def consume(self, consumer: str, steps: int) -> None:
        self.positions[consumer] = min(self.end, self.positions[consumer] + steps)
        self.backlog.progressed(TOPIC, consumer, 0, self.positions[consumer])

    @invariant()
    def nothing_unread_is_dropped(self) -> None:
        unread_and_gone = [p for p in self.positions.values() if any(p <= offset < self.start for offset in self.sent)]
        assert not unread_and_gone


TestBrokerModel = BrokerModel.TestCase
