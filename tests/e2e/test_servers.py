"""The suite's own servers: killed or paused, each comes back on the same port with all that it acknowledged."""

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pymilvus import MilvusClient

from tests.servers.kafka import KafkaAddress
from tests.servers.milvus import MilvusAddress
from tests.servers.plugin import KafkaFactory, MilvusFactory, RedisFactory
from tests.servers.process import ServerFailedError
from tests.servers.redis import RedisAddress
from tests.waiting import wait_until

CLIENT_TIMEOUT_S = 10.0


def create_topic(bootstrap_servers: str, topic: str) -> None:
    """One partition, and an error when that fails."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    for done in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        done.result(CLIENT_TIMEOUT_S)


def publish(config: dict[str, str | bool], topic: str, count: int) -> None:
    """Send the numbers below `count` and wait until the broker has acknowledged all of them."""
    producer = Producer({"enable.idempotence": True, **config})
    for number in range(count):
        producer.produce(topic, str(number).encode())
    assert producer.flush(CLIENT_TIMEOUT_S) == 0


def read(bootstrap_servers: str, topic: str, count: int) -> list[int]:
    """The first `count` messages of the topic."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": topic, "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, 0)])
    messages = consumer.consume(count, CLIENT_TIMEOUT_S)
    consumer.close()
    return [int(message.value() or b"-1") for message in messages]


def test_shared_kafka_takes_a_topic_and_gives_its_messages_back(kafka_server: KafkaAddress, topic_prefix: str) -> None:
    """The shared broker works, whoever started it."""
    topic = f"{topic_prefix}.numbers"
    create_topic(kafka_server.bootstrap_servers, topic)
    publish({"bootstrap.servers": kafka_server.bootstrap_servers}, topic, 10)
    assert read(kafka_server.bootstrap_servers, topic, 10) == list(range(10))


def test_shared_redis_keeps_a_key(redis_server: RedisAddress, unique_name: str) -> None:
    """The shared Redis works, whoever started it."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(unique_name, "here")
        assert client.get(unique_name) == b"here"


def test_shared_milvus_takes_rows_and_finds_them(milvus_server: MilvusAddress, unique_name: str) -> None:
    """The shared Milvus works, whoever started it."""
    client = MilvusClient(milvus_server.uri, token=milvus_server.token, timeout=CLIENT_TIMEOUT_S)
    client.create_collection(unique_name, dimension=4, consistency_level="Strong")
    client.upsert(unique_name, [{"id": 1, "vector": [1.0, 0.0, 0.0, 0.0]}])
    found = client.search(unique_name, [[1.0, 0.0, 0.0, 0.0]], limit=1, timeout=CLIENT_TIMEOUT_S)
    client.drop_collection(unique_name)
    client.close()
    assert [hit["id"] for hit in found[0]] == [1]


@pytest.mark.slow
def test_kafka_comes_back_after_kill_with_what_it_acknowledged(kafka_factory: KafkaFactory, topic_prefix: str) -> None:
    """kill -9, same port, same messages."""
    server = kafka_factory()
    create_topic(server.bootstrap_servers, topic_prefix)
    publish({"bootstrap.servers": server.bootstrap_servers}, topic_prefix, 1000)
    former_pid = server.pid
    server.kill()
    assert not server.is_running
    server.start()
    assert server.pid != former_pid
    assert read(server.bootstrap_servers, topic_prefix, 1000) == list(range(1000))


@pytest.mark.slow
def test_kafka_sasl_listener_admits_its_user_only(kafka_factory: KafkaFactory, topic_prefix: str) -> None:
    """By either mechanism the right password publishes, a wrong one does not get in."""
    server = kafka_factory()
    sasl = server.address.sasl
    assert sasl is not None
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        topic = f"{topic_prefix}.{mechanism}"
        create_topic(server.bootstrap_servers, topic)
        config: dict[str, str | bool] = {
            "bootstrap.servers": sasl.bootstrap_servers,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": sasl.username,
            "sasl.password": sasl.password,
        }
        publish(config, topic, 3)
        assert read(server.bootstrap_servers, topic, 3) == [0, 1, 2]
        stranger = AdminClient({**config, "sasl.password": "wrong", "log_level": 0})
        with pytest.raises(KafkaException):
            stranger.list_topics(timeout=3)


@pytest.mark.slow
def test_kafka_refuses_a_topic_nobody_created(kafka_factory: KafkaFactory, topic_prefix: str) -> None:
    """As in production, a mistyped topic is an error."""
    server = kafka_factory()
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    metadata = admin.list_topics(topic_prefix, timeout=CLIENT_TIMEOUT_S)
    assert metadata.topics[topic_prefix].error is not None


def test_redis_comes_back_after_kill_with_what_it_acknowledged(redis_factory: RedisFactory) -> None:
    """kill -9, same port, same keys."""
    server = redis_factory()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "1")
    server.kill()
    server.start()
    with redis.Redis.from_url(server.url) as client:
        assert client.get("kept") == b"1"


def test_paused_redis_answers_nothing_until_resumed(redis_factory: RedisFactory) -> None:
    """SIGSTOP leaves the port open and the client waiting."""
    server = redis_factory()
    server.pause()
    with redis.Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    assert server.is_running
    server.resume()
    server.wait_ready()


def test_redis_takes_options(redis_factory: RedisFactory) -> None:
    """A test can ask for a small or otherwise special server."""
    server = redis_factory("--maxmemory", "10mb")
    with redis.Redis.from_url(server.url) as client:
        assert client.config_get("maxmemory")["maxmemory"] == str(10 * 1024 * 1024)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_milvus_comes_back_after_kill_with_what_it_acknowledged(milvus_factory: MilvusFactory, unique_name: str) -> None:
    """kill -9, same port, same rows, and a second instance beside it does not mind."""
    server, bystander = milvus_factory(), milvus_factory()
    client = MilvusClient(server.uri, timeout=CLIENT_TIMEOUT_S)
    client.create_collection(unique_name, dimension=8)
    noise = random.Random(1)
    rows = [{"id": number, "vector": [noise.random() for _ in range(8)]} for number in range(500)]
    client.upsert(unique_name, rows)
    client.close()
    server.kill()
    server.start()
    server.wait_loaded(unique_name)
    client = MilvusClient(server.uri, timeout=CLIENT_TIMEOUT_S)
    (count,) = client.query(unique_name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    client.close()
    assert count["count(*)"] == 500
    assert bystander.is_ready()


def test_a_server_restarted_from_a_thread_outlives_the_thread(redis_factory: RedisFactory) -> None:
    """Its life is tied to the test process, not to the thread that happened to start it."""
    server = redis_factory()
    restarter = threading.Thread(target=server.restart)
    restarter.start()
    restarter.join()
    server.wait_ready()
    assert server.is_running


@pytest.mark.redis
def test_servers_die_with_a_killed_test_process(tmp_path: Path) -> None:
    """kill -9 of the tests leaves no server behind."""
    script = f"""
import pathlib, sys
from tests.servers.redis import RedisServer
print(RedisServer(pathlib.Path({str(tmp_path)!r})).start().pid, flush=True)
sys.stdin.read()
"""
    tests = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    with tests:
        assert tests.stdout is not None
        server_pid = int(tests.stdout.readline())
        tests.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(server_pid), within_s=10, what=f"process {server_pid} to die with its parent")


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits to be collected does not."""
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_server_that_cannot_start_says_why(redis_factory: RedisFactory) -> None:
    """The error carries the server's own words."""
    with pytest.raises(ServerFailedError, match="no-such-option"):
        redis_factory("--no-such-option", "1")


def test_starting_a_running_server_is_an_error(redis_factory: RedisFactory) -> None:
    """Two processes never share one data directory."""
    with pytest.raises(ServerFailedError, match="runs already"):
        redis_factory().start()


def test_servers_of_one_test_have_ports_of_their_own(redis_factory: RedisFactory) -> None:
    """Factories can be called again and again."""
    first, second = redis_factory(), redis_factory()
    assert first.port != second.port
