"""Milvus Lite as a server: shared, locked, and gone with whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.milvus import LiteServer, MilvusStore
from schemas.errors import Misconfigured, Retryable
from schemas.settings import MilvusSettings
from tests.contract.connectors.milvus.rows import DIMENSION, NOW_MS, TIMEOUT_S, row, unit
from tests.waiting import wait_until

NAME = "rows"

OWNER = """
import sys
from pathlib import Path
from connectors.milvus import LiteServer
server = LiteServer(Path(sys.argv[1]))
print(server.start(), server.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiteServer]:
    """A server of the test's own, not started yet."""
    made = LiteServer(tmp_path / "milvus.db")
    yield made
    made.close()


def store_at(server: LiteServer) -> MilvusStore:
    return MilvusStore(MilvusSettings(), server.uri)


def test_two_stores_share_one_file(server: LiteServer) -> None:
    """What one client writes another finds."""
    server.start()
    writer, reader = store_at(server), store_at(server)
    writer.ensure(NAME, DIMENSION)
    writer.upsert(NAME, [row(1)])
    assert [hit.row_id for hit in reader.search(NAME, unit(1), 5, None, NOW_MS, TIMEOUT_S)] == [row(1).row_id]
    writer.close()
    reader.close()


def test_starting_again_changes_nothing(server: LiteServer) -> None:
    """A running server stays as it is."""
    assert server.start() == server.start()


def test_rows_survive_an_orderly_end(server: LiteServer, tmp_path: Path) -> None:
    """What was acknowledged is in the file, whichever server serves it next."""
    server.start()
    with_rows = store_at(server)
    with_rows.ensure(NAME, DIMENSION)
    with_rows.upsert(NAME, [row(number) for number in range(100)])
    with_rows.close()
    server.close()
    assert not server.is_running
    successor = LiteServer(tmp_path / "milvus.db")
    successor.start()
    store = store_at(successor)
    assert len(store.search(NAME, unit(1), 200, None, NOW_MS, TIMEOUT_S)) == 100
    store.close()
    successor.close()


def test_a_store_goes_on_after_the_server_was_killed(server: LiteServer) -> None:
    """kill -9 loses no acknowledged row; while it is away calls fail at once and say so."""
    server.start()
    store = store_at(server)
    store.ensure(NAME, DIMENSION)
    store.upsert(NAME, [row(number) for number in range(100)])
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.is_running, within_s=5, what="the killed server to be gone")
    with pytest.raises(Retryable, match="away"):
        store.search(NAME, unit(1), 5, None, NOW_MS, TIMEOUT_S)
    address = server.uri
    assert server.start() == address
    wait_until(lambda: answers(store), within_s=5, what="the store to find the server again")
    assert len(store.search(NAME, unit(1), 200, None, NOW_MS, TIMEOUT_S)) == 100
    store.upsert(NAME, [row(200)])
    assert store.count(NAME) == 101
    store.close()


def answers(store: MilvusStore) -> bool:
    try:
        store.ping(TIMEOUT_S)
    except Retryable:
        return False
    return True


def test_a_file_in_use_is_refused(server: LiteServer, tmp_path: Path) -> None:
    """A second server over one file would ruin it; the message names the file."""
    server.start()
    rival = LiteServer(tmp_path / "milvus.db")
    with pytest.raises(Misconfigured, match=r"milvus\.db is open in another process"):
        rival.start()
    rival.close()
    assert server.is_running


def test_the_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """However that process ends: no server is left, and the file can be opened again at once."""
    file = tmp_path / "milvus.db"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    assert owner.stdin is not None
    _, pid = owner.stdout.readline().split()
    owner.kill()
    owner.wait()
    owner.stdin.close()
    owner.stdout.close()
    successor = LiteServer(file)
    successor.start()
    assert has_ended(int(pid))
    successor.close()


def has_ended(pid: int) -> bool:
    """Gone, or dead and not yet collected by init, which containers may lack."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize("name", ["a b.db", "ü.db", f"{'x' * 40}.db"])
def test_a_name_that_lite_cannot_open_is_refused(tmp_path: Path, name: str) -> None:
    """Said before anything is started."""
    with pytest.raises(Misconfigured, match="36 characters"):
        LiteServer(tmp_path / name).start()


def test_a_damaged_file_is_told(server: LiteServer, tmp_path: Path) -> None:
    """A server that can't open its file ends, and that is said at once."""
    (tmp_path / "milvus.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Retryable, match="damaged"):
        server.start()
