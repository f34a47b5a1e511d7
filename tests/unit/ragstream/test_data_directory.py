"""Where texts lie is made for its owner alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from query_api.view.folder import ClaimedFolder
from ragstream.data_directory import require_writable
from ragstream.embedded.journal import Journal


@pytest.fixture(autouse=True)
def lenient_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_directory_and_what_holds_text_in_it_is_its_owners(tmp_path: Path) -> None:
    """With the usual umask, which would let everybody on the machine read."""
    data_dir = tmp_path / "data"
    require_writable(data_dir)
    claimed = ClaimedFolder.first_free(tmp_path / "views")
    claimed.release()
    journal = Journal(tmp_path / "journal" / "events.log", 1)
    journal.open()
    journal.close()
    assert [mode(path) for path in (data_dir, claimed.path, tmp_path / "journal")] == [0o700] * 3


def test_a_directory_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    """Somebody chose them."""
    shared = tmp_path / "shared"
    shared.mkdir(0o750)
    require_writable(shared)
    assert mode(shared) == 0o750
