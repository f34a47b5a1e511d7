"""One ingest of several processes: what their parent ends with, and how it stops them."""

import os
import signal
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from ragstream.cli.run import on_signals
from ragstream.workers import _wait, is_orphan, outcome
from tests.waiting import wait_until

WORKER = """#!{python}
import os, pathlib, signal, sys, threading

asked = threading.Event()
signal.signal(signal.SIGINT, lambda *_: asked.set())
note = pathlib.Path({folder!r}) / str(os.getpid())
note.with_suffix(".new").write_text(str(os.getpgid(0)))
note.with_suffix(".new").rename(note.with_suffix(".group"))
sys.exit(0 if asked.wait(30) else 1)
"""
PARENT = "import sys; sys.executable = {worker!r}; from ragstream.workers import run_workers; \
sys.exit(run_workers(2, threads=1, until_caught_up=False))"


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


class Child:
    """A process whose exit code shows after so many looks."""

    def __init__(self, code: int, looks: int) -> None:
        self._code = code
        self._left = looks

    def poll(self) -> int | None:
        self._left -= 1
        return self._code if self._left < 0 else None


@pytest.mark.parametrize(
    ("noticed", "caused", "grace_s", "expected"),
    [
        pytest.param(0, 4, 30.0, 17, id="the-cause-ends-a-little-later"),
        pytest.param(0, 1_000_000, 0.3, 75, id="no-cause-in-time"),
    ],
)
def test_the_cause_is_waited_for(noticed: int, caused: int, grace_s: float, expected: int) -> None:
    """Who is fenced ends last, and that it was must not be lost: a supervisor would start the fight again."""
    assert _wait([Child(75, noticed), Child(17, caused)], grace_s) == expected  # type: ignore[list-item]


def test_a_worker_is_an_orphan_when_its_parent_is_another() -> None:
    """One that was started by hand has none to lose."""
    assert not is_orphan(os.getppid())
    assert is_orphan(os.getpid())
    assert not is_orphan(None)


def test_ctrl_c_reaches_workers_once(tmp_path: Path) -> None:
    """A terminal signals all of the foreground group: workers are in groups of their own, and are told by their parent."""
    worker = tmp_path / "worker"
    worker.write_text(WORKER.format(python=sys.executable, folder=str(tmp_path)))
    worker.chmod(0o755)
    parent = subprocess.Popen([sys.executable, "-c", PARENT.format(worker=str(worker))], start_new_session=True)
    try:
        notes = wait_until(
            lambda: found if len(found := list(tmp_path.glob("*.group"))) == 2 else None, within_s=20, what="two workers"
        )
        assert notes is not None
        groups = {int(note.read_text()) for note in notes}
        os.killpg(parent.pid, signal.SIGINT)
        assert parent.wait(20) == 0
    finally:
        parent.kill()
        parent.wait()
    assert len(groups) == 2
    assert parent.pid not in groups


@pytest.mark.parametrize(("parent", "ends"), [(os.getppid(), False), (None, True), (-1, True)])
def test_a_second_signal_ends_only_who_has_no_parent_to_end_it(parent: int | None, ends: bool) -> None:
    """A service manager signals a whole group, and the parent passes its own on: that is one stop, not two."""
    stops: list[None] = []
    with on_signals(lambda: stops.append(None), parent):
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt) if ends else nullcontext():
            signal.raise_signal(signal.SIGTERM)
    assert len(stops) == 1
