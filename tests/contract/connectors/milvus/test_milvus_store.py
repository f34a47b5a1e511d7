"""What only a store on a server does: addresses, deadlines, outages, visibility."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from connectors.milvus import LiteServer, MilvusStore, create_vector_store
from schemas.errors import Misconfigured, RagError, Retryable
from schemas.settings import MilvusSettings, Settings
from tests.contract.connectors.milvus.rows import DIMENSION, NOW_MS, TIMEOUT_S, row, unit
from tests.servers.milvus import MilvusAddress
from tests.servers.plugin import MilvusFactory
from tests.waiting import wait_until

EVERYONE = frozenset({"*"})
SLACK_S = 0.5


def store_at(uri: str) -> MilvusStore:
    return MilvusStore(MilvusSettings(), uri)


@pytest.fixture
def lite(tmp_path: Path) -> Iterator[LiteServer]:
    """A server of the test's own, to stop and kill."""
    server = LiteServer(tmp_path / "milvus.db")
    server.start()
    yield server
    server.close()


@pytest.mark.parametrize("uri", ["data/milvus.db", "unix:/tmp/x.sock", "localhost:19530", "", "http://"])
def test_what_is_no_address_of_a_server_is_refused(uri: str) -> None:
    """A file above all: pymilvus would quietly open it in this process."""
    with pytest.raises(Misconfigured, match="RAG_MILVUS__URI"):
        store_at(uri)


def test_a_factory_without_address_is_refused() -> None:
    """The message names the setting and what runs instead."""
    with pytest.raises(Misconfigured, match="RAG_MILVUS__URI"):
        create_vector_store(Settings())


def test_making_a_store_touches_no_network() -> None:
    """Stores are made before servers are up, and travel to workers as settings."""
    store = pickle.loads(pickle.dumps(store_at("http://127.0.0.1:1")))
    assert isinstance(store, MilvusStore)
    store.close()


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    """Nobody waits for a deadline when nothing listens."""
    began = time.monotonic()
    with pytest.raises(Retryable, match="is away"):
        store_at("http://127.0.0.1:1").ping(TIMEOUT_S)
    assert time.monotonic() - began < 1.0


def test_a_server_that_never_answers_is_given_up_in_time() -> None:
    """A socket that accepts and says nothing can't hold a caller."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        raises_within(lambda: store_at(f"http://127.0.0.1:{mute.getsockname()[1]}").ping(1.0), 1.0)


def test_a_stopped_server_holds_no_caller_beyond_the_deadline(lite: LiteServer) -> None:
    """SIGSTOP: connections stay open, nothing answers. With several callers at once, and afterwards all is well again."""
    assert lite.pid is not None
    check_stopped_server(lite.uri, lite.pid)


@pytest.mark.slow
def test_a_stopped_milvus_holds_no_caller_beyond_the_deadline(milvus_factory: MilvusFactory) -> None:
    """The same with a real server."""
    server = milvus_factory()
    check_stopped_server(server.uri, server.pid)


def check_stopped_server(uri: str, pid: int) -> None:
    store, fresh = store_at(uri), store_at(uri)
    store.ensure("rows", DIMENSION)
    store.wait_visible("rows", store.upsert("rows", [row(1)]), TIMEOUT_S)
    os.kill(pid, signal.SIGSTOP)
    try:
        calls = [lambda: store.search("rows", unit(1), 5, EVERYONE, NOW_MS, 1.0)] * 4
        calls += [lambda: fresh.search("rows", unit(1), 5, None, NOW_MS, 1.0)] * 4
        threads = [Caught(call) for call in calls]
        for thread in threads:
            thread.join()
        for thread in threads:
            assert isinstance(thread.error, Retryable), thread.error
            assert thread.took_s < 1.0 + SLACK_S
        raises_within(lambda: store.ping(0.5), 0.5)
        raises_within(lambda: store.search_rows("rows", unit(1), [row(1).row_id], 5, 0.5), 0.5)
    finally:
        os.kill(pid, signal.SIGCONT)
    for each in (store, fresh):
        wait_until(lambda each=each: finds(each, "rows", 1), within_s=20, what="the server to answer again")  # type: ignore[misc]
        each.close()


class Caught(threading.Thread):
    """Runs a call and keeps what it raised and how long it took."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self._call = call
        self.error: RagError | None = None
        self.took_s = 0.0
        self.start()

    def run(self) -> None:
        began = time.monotonic()
        try:
            self._call()
        except RagError as exc:
            self.error = exc
        self.took_s = time.monotonic() - began


def raises_within(call: Callable[[], object], seconds: float) -> None:
    began = time.monotonic()
    with pytest.raises(Retryable):
        call()
    assert time.monotonic() - began < seconds + SLACK_S


def finds(store: MilvusStore, collection: str, rows: int) -> bool:
    try:
        return len(store.search(collection, unit(1), 100, EVERYONE, NOW_MS, 2.0)) == rows
    except Retryable:
        return False


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_store_goes_on_after_milvus_was_killed(milvus_factory: MilvusFactory) -> None:
    """kill -9: calls fail at once while it is away; when it is back every acknowledged row is, without a new store."""
    server = milvus_factory()
    store, reader = store_at(server.uri), store_at(server.uri)
    store.ensure("rows", DIMENSION)
    store.wait_visible("rows", store.upsert("rows", [row(number) for number in range(50)]), TIMEOUT_S)
    assert finds(reader, "rows", 50)
    server.kill()
    raises_within(lambda: reader.search("rows", unit(1), 5, EVERYONE, NOW_MS, TIMEOUT_S), 0.5)
    raises_within(lambda: store.upsert("rows", [row(1)]), 0.5)
    server.start()
    wait_until(lambda: finds(reader, "rows", 50), within_s=30, what="the reader to find every row again")
    mark = store.upsert("rows", [row(100)])
    store.wait_visible("rows", mark, TIMEOUT_S)
    assert finds(reader, "rows", 51)
    store.close()
    reader.close()


def test_what_was_released_is_loaded_by_the_next_call(milvus_server: MilvusAddress, unique_name: str) -> None:
    """A collection that an operator released, or a restart forgot, comes back by itself."""
    from pymilvus import MilvusClient  # noqa: PLC0415

    store = store_at(milvus_server.uri)
    store.ensure(unique_name, DIMENSION)
    store.wait_visible(unique_name, store.upsert(unique_name, [row(1)]), TIMEOUT_S)
    operator = MilvusClient(milvus_server.uri, timeout=TIMEOUT_S, dedicated=True)
    operator.release_collection(unique_name, timeout=TIMEOUT_S)
    operator.close()
    hits = store.search(unique_name, unit(1), 5, EVERYONE, NOW_MS, TIMEOUT_S)
    assert [hit.row_id for hit in hits] == [row(1).row_id]
    store.drop(unique_name)
    store.close()


@pytest.mark.slow
def test_other_clients_see_what_the_writer_waited_for(milvus_server: MilvusAddress, unique_name: str) -> None:
    """After `wait_visible` the first plain search of another client finds every new row, 40 times of 40."""
    writer, reader = store_at(milvus_server.uri), store_at(milvus_server.uri)
    writer.ensure(unique_name, DIMENSION)
    writer.upsert(unique_name, [row(number, allow=("user:other",)) for number in range(10_000, 12_000)])
    missed = 0
    for trial in range(40):
        rows = [row(trial * 100 + number, allow=(f"user:{trial}",)) for number in range(40)]
        writer.wait_visible(unique_name, writer.upsert(unique_name, rows), TIMEOUT_S)
        hits = reader.search(unique_name, unit(trial), 100, frozenset({f"user:{trial}"}), NOW_MS, TIMEOUT_S)
        missed += {hit.row_id for hit in hits} != {made.row_id for made in rows}
    assert missed == 0
    writer.drop(unique_name)
    writer.close()
    reader.close()


def test_waiting_for_what_can_not_be_visible_ends_in_time(milvus_server: MilvusAddress, unique_name: str) -> None:
    """A mark from the future, as of a server whose clock was set back, is given up at the deadline."""
    store = store_at(milvus_server.uri)
    store.ensure(unique_name, DIMENSION)
    mark = store.upsert(unique_name, [row(1)])
    an_hour = 3600 * 1000 << 18  # timestamps count milliseconds above 18 bits of their own
    future = mark._replace(timestamp=mark.timestamp + an_hour)
    raises_within(lambda: store.wait_visible(unique_name, future, 1.0), 1.0)
    store.drop(unique_name)
    store.close()
