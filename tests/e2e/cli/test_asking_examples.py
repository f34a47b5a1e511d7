"""The programs in docs/asking.md, run as they stand there: they ask a running system through Apache Kafka and are answered."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.settings import TopicSettings
from tests.e2e.cli.commands import Shell, new_shell, up
from tests.markdown import code_blocks
from tests.servers.cache import UnavailableError
from tests.servers.kafka import KafkaAddress, kafka_jars
from tests.waiting import wait_until

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240), pytest.mark.slow]

ANSWER = "Open Cards and tap Freeze"
RUN_TIMEOUT_S = 90


@pytest.fixture(scope="module")
def servers(kafka_server: KafkaAddress) -> str:
    return kafka_server.bootstrap_servers


@pytest.fixture(scope="module")
def topics(servers: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TopicSettings]:
    """Of an `up` on Kafka that knows how cards are frozen."""
    folder = tmp_path_factory.mktemp("asking")
    prefix = f"asking-{uuid.uuid4().hex[:8]}"
    names = TopicSettings(**{field: f"{prefix}.{name}" for field, name in TopicSettings().model_dump().items()})
    variables = {f"KAFKA__TOPICS__{field.upper()}": name for field, name in names.model_dump().items()}
    groups = {"KAFKA__QUERY_GROUP": f"{prefix}.query", "KAFKA__INGEST_GROUP": f"{prefix}.ingest"}
    shell = new_shell(folder, KAFKA__BOOTSTRAP_SERVERS=servers, KAFKA__PARTITIONS="2", **groups, **variables)
    shell.run("topics", "create")
    with up(shell, folder / "up.log"):
        publish(shell)
        yield names


def publish(shell: Shell) -> None:
    change = {
        "op": "upsert",
        "doc_id": "cards/freeze",
        "acl": ["user:maya"],
        "event_time": "2026-11-01T10:00:00Z",
        "content": {"text": f"# How do I freeze my card?\n\n{ANSWER}. It is thawed there, too.\n"},
    }
    shell.run("publish", "-", stdin=json.dumps(change).encode())
    asking = ("ask", "How do I freeze my card?", "--as", "user:maya", "--no-cache")
    wait_until(lambda: ANSWER in shell.run(*asking, expect=None).out, within_s=60, what="the document to be found")


def example(language: str, servers: str, topics: TopicSettings) -> str:
    """The page's program, at this test's servers and topics."""
    (block,) = (block for block in code_blocks("asking.md") if block.language == language)
    code = block.text
    for documented, own in {
        '"localhost:9092"': json.dumps(servers),
        '"rag.queries"': json.dumps(topics.queries),
        '"rag.answers"': json.dumps(topics.answers),
    }.items():
        assert documented in code
        code = code.replace(documented, own)
    return code


def assert_answered(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert "answered" in done.stdout
    assert "cards/freeze" in done.stdout
    # Once as it was streamed, once in the final event.
    assert done.stdout.count(ANSWER) == 2, done.stdout


def test_the_python_program_asks_and_shows_the_answer(servers: str, topics: TopicSettings) -> None:
    """As the caller that it names, who may read the one document there is."""
    code = example("python", servers, topics)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    assert_answered(done)


def test_the_java_program_asks_and_shows_the_answer(servers: str, topics: TopicSettings, tmp_path: Path) -> None:
    """Compiled and run from its source, with the libraries that the page names."""
    java, compiler = shutil.which("java"), shutil.which("javac")
    if java is None or compiler is None:
        pytest.skip("javac is not on the path: apt-get install openjdk-17-jdk-headless")
    try:
        jars = kafka_jars()
    except UnavailableError as exc:
        pytest.skip(str(exc))
    source = tmp_path / "Ask.java"
    source.write_text(example("java", servers, topics))
    command = [java, "-cp", f"{jars}/*", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    assert_answered(done)


def test_the_python_program_says_when_nothing_is_delivered(topics: TopicSettings) -> None:
    """Without a broker it ends with an error, not in silence."""
    code = example("python", "127.0.0.1:9", topics).replace("list_topics(ANSWERS, 10)", "list_topics(ANSWERS, 0.5)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=RUN_TIMEOUT_S)
    assert done.returncode != 0
    assert "KafkaException" in done.stderr
