"""One ingest of several processes: what their parent ends with."""

import os
import signal

import pytest

from ragstream.workers import is_orphan, outcome


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        pytest.param([None, None], None, id="all-run"),
        pytest.param([0, None], None, id="one-is-done"),
        pytest.param([0, 0], 0, id="all-are-done"),
        pytest.param([None, 17], 17, id="one-is-fenced"),
        pytest.param([None, -signal.SIGKILL], 137, id="one-is-killed"),
        pytest.param([75, -signal.SIGKILL], 137, id="one-is-killed-and-the-other-noticed"),
        pytest.param([75, 17], 17, id="one-is-fenced-and-the-other-noticed"),
        pytest.param([75, None], 75, id="a-server-is-away"),
    ],
)
def test_the_parent_ends_with_the_cause(codes: list[int | None], expected: int | None) -> None:
    """Not with what followed from it."""
    assert outcome(codes) == expected


def test_a_worker_is_an_orphan_when_its_parent_is_another() -> None:
    """One that was started by hand has none to lose."""
    assert not is_orphan(os.getppid())
    assert is_orphan(os.getpid())
    assert not is_orphan(None)
