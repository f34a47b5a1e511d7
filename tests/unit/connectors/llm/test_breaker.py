"""The circuit breaker, on a clock of its own."""

from __future__ import annotations

from connectors.llm import CircuitBreaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def broken(failures: int = 3) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    breaker = CircuitBreaker(failures, 10.0, clock)
    for _ in range(failures):
        assert breaker.allows()
        breaker.failed()
    return breaker, clock


def test_failures_in_a_row_open_it() -> None:
    """Not one fewer."""
    breaker, _ = broken()
    assert breaker.state == "open"
    assert not breaker.allows()


def test_a_success_starts_the_count_again() -> None:
    """In a row means in a row."""
    breaker = CircuitBreaker(2, 10.0, Clock())
    for _ in range(5):
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"


def test_after_a_while_one_probe_is_let_through() -> None:
    """And nobody else until it is known how it went."""
    breaker, clock = broken()
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.state == "half_open"
    assert [breaker.allows() for _ in range(3)] == [True, False, False]


def test_a_probe_that_succeeds_closes_it() -> None:
    """All as before."""
    breaker, clock = broken()
    clock.now += 10
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.state == "closed"
    assert breaker.allows()


def test_a_probe_that_fails_opens_it_for_as_long_again() -> None:
    """Counted from then."""
    breaker, clock = broken()
    clock.now += 15
    assert breaker.allows()
    breaker.failed()
    clock.now += 9.9
    assert not breaker.allows()
    clock.now += 0.1
    assert breaker.allows()


def test_a_probe_that_is_abandoned_leaves_room_for_another() -> None:
    """Nothing was learned."""
    breaker, clock = broken()
    clock.now += 10
    assert breaker.allows()
    breaker.abandoned()
    assert breaker.allows()
