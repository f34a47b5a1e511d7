"""Every command with the Kafka permissions of its row in docs/kafka-permissions.md and none besides, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.milvus import create_vector_store
from schemas.settings import Settings, TopicSettings
from tests.e2e.cli.commands import Shell, new_shell, running, write_docs
from tests.permissions import NOBODY, PASSWORD, authorizer, grant_the_page
from tests.servers.kafka import KafkaServer
from tests.servers.milvus import MilvusAddress
from tests.servers.plugin import KafkaFactory
from tests.waiting import wait_until

ASK_TIMEOUT_S = "60"


@pytest.fixture
def shell(tmp_path: Path, kafka_factory: KafkaFactory, milvus_server: MilvusAddress, unique_name: str) -> Iterator[Shell]:
    """Settings for a guarded Kafka with the page's names; who logs in is said by `as_login`."""
    server: KafkaServer = kafka_factory(authorizer())
    grant_the_page(server)
    sasl = server.address.sasl
    assert sasl is not None
    collections = f"t_{unique_name}"[:40]
    yield new_shell(
        tmp_path,
        KAFKA__BOOTSTRAP_SERVERS=sasl.bootstrap_servers,
        KAFKA__PARTITIONS="2",
        KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        KAFKA__SASL_MECHANISM="PLAIN",
        KAFKA__SASL_PASSWORD=PASSWORD,
        MILVUS__URI=milvus_server.uri,
        MILVUS__TOKEN=milvus_server.token,
        MILVUS__COLLECTION_PREFIX=collections,
    )
    store = create_vector_store(Settings.model_validate({"milvus": {"uri": milvus_server.uri}}), milvus_server.uri)
    for name in store.collections():
        if name.startswith(collections):
            store.drop(name)
    store.close()


def as_login(shell: Shell, login: str) -> Shell:
    return shell.having(KAFKA__SASL_USERNAME=login)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_every_command_does_its_work_with_the_permissions_of_its_row(shell: Shell, tmp_path: Path) -> None:
    """From making the topics to a cited answer and a revocation ahead of the write path, each as a user of its own."""
    as_login(shell, "creator").run("topics", "create")
    write_docs(shell.cwd / "docs", vault="# Vault\n\nThe vault opens at nine in the morning.\n")
    publish = as_login(shell, "upstream")
    publish.run("publish", "docs", "--acl", "*")
    ingest = as_login(shell, "ingest")
    ingest.run("ingest", "--until-caught-up")
    operator = as_login(shell, "operator")
    asker = as_login(shell, "asker")
    ingest_log, serve_log = tmp_path / "ingest.log", tmp_path / "serve.log"
    with running(ingest, ingest_log, "ingest"), running(as_login(shell, "serve"), serve_log, "serve"):
        assert "nine" in asker.run("ask", "When does the vault open?", "--timeout", ASK_TIMEOUT_S).out
        publish.run("publish", "docs/vault.md", "--delete")
        wait_until(lambda: operator.run("status", "--json").json["documents"] == 0, within_s=60, what="the delete to be followed")
        assert "nine" not in asker.run("ask", "When does the vault open?", expect=None).out
    assert operator.run("inspect", "--jsonl").out.count("vault.md") >= 1
    found = [part for part in operator.run("doctor", "--json", expect=None).json["findings"] if part["part"].startswith("topic ")]
    assert len(found) == len(TopicSettings.model_fields) and all(part["ok"] for part in found), found
    for log in (ingest_log, serve_log):
        assert "authorization" not in log.read_text().lower(), log.read_text()[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_who_may_nothing_is_told_what_to_grant(shell: Shell) -> None:
    """With the exit code for settings; nothing hangs."""
    as_login(shell, "creator").run("topics", "create")
    nobody = as_login(shell, NOBODY)
    (shell.cwd / "note.md").write_text("# Note\n\nNothing.\n")
    for command in (["publish", "note.md"], ["ingest", "--until-caught-up"], ["status"]):
        refused = nobody.run(*command, expect=None)
        assert refused.code not in (0, 1), (command, refused)
        assert "permi" in refused.err or "no such topic" in refused.err, (command, refused)
