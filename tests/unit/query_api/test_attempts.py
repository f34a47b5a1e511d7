"""Attempts are told apart although Kafka doesn't say what it delivers again."""

from query_api.attempts import Attempts

NOW_MS = 1_700_000_000_000


def test_what_came_after_the_assignment_is_a_first_attempt() -> None:
    """Nobody else can have begun it."""
    attempts = Attempts(lambda: NOW_MS)
    attempts.assigned({("rag.queries", 0): 10})
    assert attempts.of("rag.queries", 0, 10) == 1


def test_what_lay_there_before_may_be_a_later_attempt() -> None:
    """It is numbered by the clock: above 1, and above what an earlier worker numbered by its clock."""
    attempts = Attempts(lambda: NOW_MS)
    attempts.assigned({("rag.queries", 0): 10})
    assert attempts.of("rag.queries", 0, 9) == NOW_MS
    assert attempts.of("rag.queries", 1, 99) == NOW_MS


def test_a_partition_that_comes_back_is_as_unknown_as_a_new_one() -> None:
    """Its end of the last time is below what another worker may have begun since."""
    attempts = Attempts(lambda: NOW_MS)
    attempts.assigned({("rag.queries", 0): 10})
    attempts.forget([("rag.queries", 0), ("rag.queries", 7)])
    assert attempts.of("rag.queries", 0, 12) == NOW_MS
