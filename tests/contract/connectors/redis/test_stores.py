"""What may be lost is kept the same way in memory and in Redis; and a dead Redis costs nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from connectors.redis import BEGINNING, ExpiringStore, MemoryLog, MemoryStore, RedisLink, RedisLog, RedisStore, SharedLog
from schemas.errors import Misconfigured
from tests.servers.redis import RedisAddress, RedisServer
from tests.waiting import wait_until

TIMEOUT_S = 0.2


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[ExpiringStore]:
    if request.param == "memory":
        yield MemoryStore()
        return
    link = RedisLink(request.getfixturevalue("redis_server").url, 1.0)
    yield RedisStore(link, request.getfixturevalue("unique_name"))
    link.close()


@pytest.fixture(params=["memory", "redis"])
def make_log(request: pytest.FixtureRequest) -> Iterator[Callable[[int, float], SharedLog]]:
    if request.param == "memory":
        yield MemoryLog
        return
    link = RedisLink(request.getfixturevalue("redis_server").url, 1.0)
    key = request.getfixturevalue("unique_name")
    yield lambda count, ttl_s: RedisLog(link, key, count, ttl_s)
    link.close()


def test_what_was_put_last_is_found(store: ExpiringStore) -> None:
    """Bytes come back as they went in, also odd ones."""
    assert store.put("key", b"\x00\xff", 60)
    assert store.put("key", b"new", 60)
    assert store.get("key") == b"new"
    assert store.get("other") is None


def test_a_deleted_key_is_gone(store: ExpiringStore) -> None:
    """Deleting it twice is no error."""
    store.put("key", b"value", 60)
    store.delete("key")
    store.delete("key")
    assert store.get("key") is None


def test_a_value_leaves_after_its_time(store: ExpiringStore) -> None:
    """And not before."""
    store.put("short", b"value", 0.05)
    store.put("long", b"value", 60)
    wait_until(lambda: store.get("short") is None, within_s=5, what="the value to expire")
    assert store.get("long") == b"value"


def test_how_long_a_value_stays_is_told(store: ExpiringStore) -> None:
    """By the store's own clock, which goes on; of what isn't there, nothing."""
    store.put("key", b"\x00\xff", 60)
    first = store.held("key")
    assert first is not None
    assert first.value == b"\x00\xff"
    assert 50 < first.left_s <= 60

    def left_s() -> float:
        held = store.held("key")
        assert held is not None
        return held.left_s

    wait_until(lambda: left_s() < first.left_s - 0.01, within_s=5, what="time to pass")
    assert store.put("key", b"new", 5)
    assert left_s() <= 5
    assert store.held("other") is None
    store.put("short", b"value", 0.01)
    wait_until(lambda: store.held("short") is None, within_s=5, what="the value to expire")


def test_a_log_is_read_in_order_from_any_position(make_log: Callable[[int, float], SharedLog]) -> None:
    """A reader that joins late sees what is there; one that goes on sees only what is new."""
    log = make_log(100, 60)
    for number in range(5):
        assert log.append(str(number).encode())
    page = log.read(BEGINNING, 3)
    assert [record.value for record in page] == [b"0", b"1", b"2"]
    assert [record.value for record in log.read(page[-1].position, 10)] == [b"3", b"4"]
    last = log.read(page[-1].position, 10)[-1].position
    assert log.read(last, 10) == []


def test_a_log_is_bounded(make_log: Callable[[int, float], SharedLog]) -> None:
    """The oldest leave first."""
    log = make_log(3, 60)
    for number in range(10):
        log.append(str(number).encode())
    assert [record.value for record in log.read(BEGINNING, 100)] == [b"7", b"8", b"9"]


def test_records_leave_after_their_time(make_log: Callable[[int, float], SharedLog]) -> None:
    """Also for a reader that begins at the beginning."""
    log = make_log(100, 0.1)
    log.append(b"old")
    wait_until(lambda: log.read(BEGINNING, 10) == [], within_s=5, what="the record to expire")
    log.append(b"new")
    assert [record.value for record in log.read(BEGINNING, 10)] == [b"new"]


def test_values_survive_a_restart_of_redis(redis_factory: Callable[..., RedisServer]) -> None:
    """Where it persists; the client comes back by itself within ten seconds."""
    server = redis_factory()
    link = RedisLink(server.url, TIMEOUT_S)
    try:
        RedisStore(link, "t:").put("key", b"value", 60)
        RedisLog(link, "t:log", 10, 60).append(b"record")
        server.kill()
        server.start()
        wait_until(lambda: RedisStore(link, "t:").get("key") == b"value", within_s=10, what="Redis to be back")
        assert [record.value for record in RedisLog(link, "t:log", 10, 60).read(BEGINNING, 10)] == [b"record"]
    finally:
        link.close()


def test_a_paused_redis_costs_one_timeout_and_then_nothing(redis_factory: Callable[..., RedisServer]) -> None:
    """The first call waits for the timeout, the following thousand don't wait at all; it is back within ten seconds."""
    server = redis_factory()
    told: list[str] = []
    link = RedisLink(server.url, TIMEOUT_S, told.append)
    store = RedisStore(link, "t:")
    try:
        assert store.put("key", b"value", 60)
        server.pause()
        began = time.monotonic()
        assert store.get("key") is None
        assert time.monotonic() - began < 2.5 * TIMEOUT_S
        began = time.monotonic()
        assert all(store.get("key") is None for _ in range(1_000))
        assert time.monotonic() - began < TIMEOUT_S
        assert told == ["away"] * 1_001
        server.resume()
        wait_until(lambda: store.get("key") == b"value", within_s=10, what="Redis to be used again")
        assert not link.is_away
    finally:
        link.close()


def test_a_refusal_is_no_outage(redis_server: RedisAddress, unique_name: str) -> None:
    """A key of another type is refused, counted, and the next call goes through."""
    told: list[str] = []
    link = RedisLink(redis_server.url, 1.0, told.append)
    try:
        RedisStore(link, "").put(unique_name, b"a string", 60)
        assert not RedisLog(link, unique_name, 10, 60).append(b"record")
        assert told == ["refused"]
        assert RedisStore(link, "").get(unique_name) == b"a string"
    finally:
        link.close()


def test_nothing_at_the_address_is_survived() -> None:
    """No error at the start, none later."""
    link = RedisLink("redis://127.0.0.1:1/0", TIMEOUT_S)
    try:
        assert RedisStore(link, "t:").get("key") is None
        assert not RedisLog(link, "t:log", 10, 60).append(b"record")
    finally:
        link.close()


def test_an_address_that_is_none_is_said_so_without_its_password() -> None:
    """The setting is named."""
    with pytest.raises(Misconfigured, match="RAG_REDIS__URL") as caught:
        RedisLink("http://user:secret@host", TIMEOUT_S)
    assert "secret" not in str(caught.value)
