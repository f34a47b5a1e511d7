"""The journal gives back what was accepted, in order, whatever happened to the process."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka import OutRecord
from ragstream.embedded.journal import Journal
from schemas.errors import DataLoss, Fatal, Misconfigured, Retryable

records = st.builds(
    OutRecord,
    topic=st.just("rag.documents"),
    key=st.binary(max_size=20),
    value=st.one_of(st.none(), st.binary(max_size=200)),
    partition=st.integers(0, 3),
    headers=st.lists(st.tuples(st.text(max_size=5), st.binary(max_size=5)), max_size=2).map(tuple),
    timestamp_ms=st.integers(0, 2**40),
)


@contextmanager
def opened(folder: Path, partitions: int = 4) -> Iterator[Journal]:
    journal = Journal(folder / "journal.log", partitions)
    journal.open()
    try:
        yield journal
    finally:
        journal.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(records, max_size=4), max_size=5))
def test_what_was_appended_is_replayed_in_order(tmp_path_factory: pytest.TempPathFactory, batches: list[list[OutRecord]]) -> None:
    """Across a restart too."""
    folder = tmp_path_factory.mktemp("journal")
    for batch in batches:
        with opened(folder) as journal:
            journal.append(batch)
    with opened(folder) as journal:
        assert list(journal.replay()) == [record for batch in batches for record in batch]


@pytest.mark.parametrize("cut", [1, 7, 12, 30])
def test_a_torn_end_is_cut_off_and_appending_goes_on(tmp_path: Path, cut: int) -> None:
    """A record that was being written when the process died was never accepted."""
    kept, torn, later = (OutRecord("t", name, b"x" * 100, 0, timestamp_ms=1) for name in (b"kept", b"torn", b"later"))
    with opened(tmp_path) as journal:
        journal.append([kept, torn])
    path = tmp_path / "journal.log"
    path.write_bytes(path.read_bytes()[:-cut])
    with opened(tmp_path) as journal:
        assert journal.records == 1
        journal.append([later])
        assert list(journal.replay()) == [kept, later]


def test_damage_before_the_end_is_an_error_not_a_shorter_history(tmp_path: Path) -> None:
    """Losing accepted events silently is what a journal must never do."""
    with opened(tmp_path) as journal:
        journal.append([OutRecord("t", name, b"x" * 100, 0, timestamp_ms=1) for name in (b"a", b"b")])
    path = tmp_path / "journal.log"
    raw = bytearray(path.read_bytes())
    raw[40] ^= 0xFF
    path.write_bytes(bytes(raw))
    with pytest.raises(DataLoss, match="damaged at byte 0"), opened(tmp_path):
        pass


@pytest.mark.parametrize("written", [0, 5, 150])
def test_a_write_that_fails_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    """The disk is full halfway: nothing of it was accepted, and what is accepted later is not taken for its rest."""
    kept, lost, *later = (OutRecord("t", bytes([n]), b"x" * 100, 0, timestamp_ms=1) for n in range(8))
    write, room = os.write, [written]

    def fills_up(file: int, raw: memoryview) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken, room[0] = room[0], 0
        return write(file, raw[:taken])

    with opened(tmp_path) as journal:
        journal.append([kept])
        with monkeypatch.context() as patched:
            patched.setattr("ragstream.embedded.journal.os.write", fills_up)
            with pytest.raises(Retryable, match="No space left"):
                journal.append([lost])
        for record in later:
            journal.append([record])
    with opened(tmp_path) as journal:
        assert journal.records == 7
        assert list(journal.replay()) == [kept, *later]


def test_what_cannot_be_taken_back_ends_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is appended behind half a record; at the next start that is cut off."""
    kept, lost = (OutRecord("t", name, b"x" * 100, 0, timestamp_ms=1) for name in (b"kept", b"lost"))
    write = os.write

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    def writes_half(file: int, raw: memoryview) -> None:
        write(file, raw[:5])
        fails()

    with opened(tmp_path) as journal:
        journal.append([kept])
        monkeypatch.setattr("ragstream.embedded.journal.os.write", writes_half)
        monkeypatch.setattr("ragstream.embedded.journal.os.ftruncate", fails)
        for _ in range(2):
            with pytest.raises(Fatal):
                journal.append([lost])
        monkeypatch.undo()
    with opened(tmp_path) as journal:
        assert list(journal.replay()) == [kept]


@pytest.mark.parametrize("zeros", [1, 8, 4096, 3_000_000])
def test_zeros_at_the_end_are_cut_off(tmp_path: Path, zeros: int) -> None:
    """A power cut may leave a file longer than what was written; zeros have a checksum of zero."""
    kept, later = (OutRecord("t", name, b"x" * 100, 0, timestamp_ms=1) for name in (b"kept", b"later"))
    with opened(tmp_path) as journal:
        journal.append([kept])
    with (tmp_path / "journal.log").open("ab") as file:
        file.write(bytes(zeros))
    with opened(tmp_path) as journal:
        journal.append([later])
        assert list(journal.replay()) == [kept, later]


def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    """Offsets, and with them row ids, would change."""
    with opened(tmp_path, 4):
        pass
    with pytest.raises(Misconfigured, match="made with 4 partitions"), opened(tmp_path, 8):
        pass
