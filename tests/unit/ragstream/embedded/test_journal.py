"""The journal gives back what was accepted, in order, whatever happened to the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.kafka import OutRecord
from ragstream.embedded.journal import Journal
from schemas.errors import DataLoss, Misconfigured

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


def test_another_number_of_partitions_is_refused(tmp_path: Path) -> None:
    """Offsets, and with them row ids, would change."""
    with opened(tmp_path, 4):
        pass
    with pytest.raises(Misconfigured, match="made with 4 partitions"), opened(tmp_path, 8):
        pass
