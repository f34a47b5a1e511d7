"""The embedded broker fences nobody, so a file does."""

import os
from pathlib import Path

import pytest

from connectors.kafka.locks import WriterLock
from schemas.errors import Fenced


def test_a_second_writer_is_turned_away_and_told_by_whom(tmp_path: Path) -> None:
    """The message names the process and the file."""
    first, second = WriterLock(tmp_path, "g1/0"), WriterLock(tmp_path, "g1/0")
    first.acquire()
    first.acquire()
    with pytest.raises(Fenced, match=rf"process {os.getpid()} already .*g1_0\.lock"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_other_writers_are_not_concerned(tmp_path: Path) -> None:
    """One lock a transactional id."""
    locks = [WriterLock(tmp_path / "made-when-needed", f"g1-{number}") for number in range(2)]
    for lock in locks:
        lock.acquire()
    for lock in locks:
        lock.release()
        lock.release()
