"""The suite's real servers as fixtures, and the marks that say which tests need one.

`kafka_server`, `redis_server`, `milvus_server` are shared by the whole run and started when the first test asks. The
`*_factory` fixtures give a test servers of its own, to kill and restart. A test that uses one of them is marked `kafka`,
`redis` or `milvus` by itself. Where a server can't be had, such tests are skipped with the reason; with
RAG_TEST_REQUIRE_SERVERS=1 a skip of theirs is a failure, unless it is a data set that is missing (tests/data.py).
"""

import os
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest

from tests.data import DataAbsent
from tests.servers.cache import UnavailableError
from tests.servers.kafka import KafkaAddress, KafkaServer
from tests.servers.milvus import MilvusAddress, MilvusServer
from tests.servers.process import ServerProcess
from tests.servers.redis import RedisAddress, RedisServer

# Endpoints given by settings are used instead of servers of our own.
KAFKA_VARIABLE = "RAG_TEST_KAFKA"
REDIS_VARIABLE = "RAG_TEST_REDIS"
MILVUS_VARIABLE = "RAG_TEST_MILVUS"
MILVUS_TOKEN_VARIABLE = "RAG_TEST_MILVUS_TOKEN"
REQUIRE_VARIABLE = "RAG_TEST_REQUIRE_SERVERS"

SERVER_MARKS = ("kafka", "redis", "milvus")
# What must be there where servers are required; `node` is set by hand on tests that run a program of npm's.
REQUIRED_MARKS = (*SERVER_MARKS, "node")
MAX_NAME_LENGTH = 48

S = TypeVar("S", bound=ServerProcess)

KafkaFactory = Callable[..., KafkaServer]
RedisFactory = Callable[..., RedisServer]
MilvusFactory = Callable[[], MilvusServer]


def _is_required() -> bool:
    return os.environ.get(REQUIRE_VARIABLE, "") not in ("", "0")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test by the servers its fixtures start, before `-m` selects."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for mark in SERVER_MARKS:
            if f"{mark}_server" in fixtures or f"{mark}_factory" in fixtures:
                item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where servers are required, whatever skips a test that needs one makes it fail; but for a data set that isn't there."""
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(DataAbsent):
        return report
    is_needed = any(item.get_closest_marker(mark) for mark in REQUIRED_MARKS)
    if report.skipped and is_needed and _is_required() and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped although {REQUIRE_VARIABLE} is set: {reason}"
    return report


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaAddress]:
    """The run's shared Kafka: RAG_TEST_KAFKA (host:port,…), else a broker of our own."""
    given = os.environ.get(KAFKA_VARIABLE)
    if given:
        yield KafkaAddress(given)
        return
    with _available(KafkaServer, tmp_path_factory.mktemp("kafka")) as server:
        yield server.address


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisAddress]:
    """The run's shared Redis: RAG_TEST_REDIS (a URL), else one of our own. Use keys with `unique_name` in them."""
    given = os.environ.get(REDIS_VARIABLE)
    if given:
        yield RedisAddress(given)
        return
    with _available(RedisServer, tmp_path_factory.mktemp("redis")) as server:
        yield server.address


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusAddress]:
    """The run's shared Milvus: RAG_TEST_MILVUS (a URI), else one of our own. Name collections after `unique_name`."""
    given = os.environ.get(MILVUS_VARIABLE)
    if given:
        yield MilvusAddress(given, os.environ.get(MILVUS_TOKEN_VARIABLE, ""))
        return
    with _available(MilvusServer, tmp_path_factory.mktemp("milvus")) as server:
        yield server.address


@pytest.fixture
def kafka_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaFactory]:
    """Starts brokers of the test's own, to kill and restart; takes KafkaServer's options; gone after the test."""
    with ExitStack() as running:

        def start(extra_properties: str = "") -> KafkaServer:
            return running.enter_context(
                _available(lambda home: KafkaServer(home, extra_properties), tmp_path_factory.mktemp("own-kafka"))
            )

        yield start


@pytest.fixture
def redis_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisFactory]:
    """Starts Redis servers of the test's own; takes redis-server's options; gone after the test."""
    with ExitStack() as running:

        def start(*options: str) -> RedisServer:
            return running.enter_context(
                _available(lambda home: RedisServer(home, *options), tmp_path_factory.mktemp("own-redis"))
            )

        yield start


@pytest.fixture
def milvus_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusFactory]:
    """Starts Milvus servers of the test's own (700 MB each); gone after the test."""
    with ExitStack() as running:

        def start() -> MilvusServer:
            return running.enter_context(_available(MilvusServer, tmp_path_factory.mktemp("own-milvus")))

        yield start


@pytest.fixture
def unique_name(request: pytest.FixtureRequest) -> str:
    """A name of this test's alone (letters, digits, underscores), for collections and key prefixes."""
    stem = re.sub(r"\W+", "_", request.node.name, flags=re.ASCII)[:MAX_NAME_LENGTH].strip("_").lower()
    return f"{stem}_{uuid.uuid4().hex[:8]}"


@pytest.fixture
def topic_prefix(unique_name: str) -> str:
    """A prefix of this test's alone for topics, groups and transactional ids: `f"{topic_prefix}.documents"`."""
    return unique_name.replace("_", "-")


def _available(make: Callable[[Path], S], home: Path) -> S:
    try:
        return make(home)
    except UnavailableError as error:
        pytest.skip(str(error))
