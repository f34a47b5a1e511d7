"""Servers that the rows of the table share: each row ends with everything normal again, so the next one may begin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.e2e.degradation.ground import Ground, Reading, RealGround, reading, row_settings
from tests.servers.cache import UnavailableError
from tests.servers.kafka import KafkaServer
from tests.servers.milvus import MilvusServer
from tests.servers.proxy import Proxy
from tests.servers.redis import RedisServer
from tests.stacks import embedded_stack, real_stack


@pytest.fixture(scope="package")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealGround]:
    """Kafka, Milvus and Redis with the documents ingested."""
    folder = tmp_path_factory.mktemp("degradation")
    with ExitStack() as running:
        try:
            kafka = running.enter_context(KafkaServer(folder / "kafka"))
            milvus = running.enter_context(MilvusServer(folder / "milvus"))
            redis = running.enter_context(RedisServer(folder / "redis"))
        except UnavailableError as error:
            pytest.skip(str(error))
        to_milvus = running.enter_context(Proxy(milvus.port))
        to_redis = running.enter_context(Proxy(redis.port))
        settings = row_settings(folder / "ingest")
        stack = running.enter_context(real_stack(folder / "ingest", settings, kafka.bootstrap_servers, milvus.uri))
        made = RealGround(stack, redis, to_milvus, to_redis, kafka, milvus)
        made.fill()
        yield made


# Once a run: modules come in random order, and a package's fixtures end whenever another package's module comes between.
@pytest.fixture(scope="session")
def small_ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """The embedded log and vectors, and a Redis: there in seconds."""
    folder = tmp_path_factory.mktemp("degradation-small")
    with ExitStack() as running:
        try:
            redis = running.enter_context(RedisServer(folder / "redis"))
        except UnavailableError as error:
            pytest.skip(str(error))
        stack = running.enter_context(embedded_stack(folder, row_settings(folder)))
        to_milvus = running.enter_context(Proxy(int(stack.milvus_uri.rpartition(":")[2])))
        to_redis = running.enter_context(Proxy(redis.port))
        made = Ground(stack, redis, to_milvus, to_redis)
        made.fill()
        yield made


@pytest.fixture(scope="package")
def query_process(ground: RealGround, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """One query process for all rows that need no settings of their own: nothing that happened in one may stay in it."""
    with reading(ground.settings(tmp_path_factory.mktemp("query")), ground.where, serves_kafka=True) as made:
        yield made


@pytest.fixture(scope="session")
def small_query_process(small_ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """The same for the rows that need neither Kafka nor Milvus."""
    with reading(small_ground.settings(tmp_path_factory.mktemp("query")), small_ground.where) as made:
        yield made


@pytest.fixture
def asked(ground: RealGround, query_process: Reading) -> Iterator[Reading]:
    """The query process, normal before the test; servers and network as they should be after it."""
    query_process.wait_normal()
    yield query_process
    ground.heal()


@pytest.fixture
def small_asked(small_ground: Ground, small_query_process: Reading) -> Iterator[Reading]:
    """The same."""
    small_query_process.wait_normal()
    yield small_query_process
    small_ground.heal()
