"""One `ragstream up`, and everything else that one does with it from other terminals."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from connectors.kafka import OutRecord
from ragstream.embedded.door import deliver
from schemas.queries import UNKNOWN_ANSWER
from tests.e2e.cli.commands import Shell, Up, new_shell, up, write_docs
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Shared: each test publishes documents of its own."""
    folder = tmp_path_factory.mktemp("up")
    with up(new_shell(folder), folder / "up.log") as whole:
        yield whole


@pytest.fixture
def elsewhere(running: Up, tmp_path: Path) -> Shell:
    """Another directory of the same user, without any settings."""
    state = running.shell.variables["XDG_STATE_HOME"]
    return Shell(tmp_path, {"XDG_STATE_HOME": state})


def now() -> str:
    return datetime.now(UTC).isoformat()


def publish_rows(shell: Shell, *rows: dict[str, object], expect: int = 0) -> None:
    lines = b"".join(json.dumps({"event_time": now(), **row}).encode() + b"\n" for row in rows)
    shell.run("publish", "-", stdin=lines, expect=expect)


def test_other_commands_find_it_from_any_directory(running: Up, elsewhere: Shell, tmp_path: Path) -> None:
    """No setting names it: its user's file does."""
    write_docs(tmp_path / "docs", parking="# Parking\n\nVisitors park their bicycles behind the greenhouse.\n")
    elsewhere.run("publish", "docs", "--acl", "*")
    running.caught_up()
    answer = elsewhere.run("ask", "Where do visitors park their bicycles?")
    assert "greenhouse" in answer.out
    assert "parking.md" in answer.out


@pytest.mark.slow
def test_publishing_a_folder_again_embeds_nothing(running: Up, elsewhere: Shell, tmp_path: Path) -> None:
    """The second run's events are fenced: they say nothing new."""
    docs = write_docs(
        tmp_path / "twice", **{f"article-{n}": f"# Twice {n}\n\nThe number of this one is {n}.\n" for n in range(5)}
    )
    elsewhere.run("publish", str(docs), "--acl", "*")
    before = running.caught_up()
    encoded = running.encoded()
    published = elsewhere.run("publish", str(docs), "--acl", "*", "--json").json
    after = running.caught_up()
    assert published["published"] == 5
    assert after["outcomes"]["fenced"] == before["outcomes"].get("fenced", 0) + 5
    assert after["documents"] == before["documents"]
    assert running.encoded() == encoded
    # With --now the events are newer, and the content is the same.
    elsewhere.run("publish", str(docs), "--acl", "*", "--now")
    latest = running.caught_up()
    assert latest["outcomes"]["unchanged"] == after["outcomes"].get("unchanged", 0) + 5
    assert running.encoded() == encoded


def test_callers_see_what_they_may_and_no_longer_what_they_might(running: Up, elsewhere: Shell) -> None:
    """Two principals, then an access change, then a delete."""
    question = ("ask", "How large is the zeppelin allowance?")
    document = {
        "doc_id": "hr/zeppelin",
        "op": "upsert",
        "content": {"text": "# Zeppelins\n\nThe zeppelin allowance is 40 marks.\n"},
    }
    publish_rows(elsewhere, {**document, "acl": ["group:hr"]})
    running.caught_up()
    assert "40 marks" in elsewhere.run(*question, "--as", "user:ann", "--as", "group:hr").out
    stranger = elsewhere.run(*question, "--as", "user:ben", expect=1)
    assert UNKNOWN_ANSWER in stranger.out
    assert "40 marks" in elsewhere.run(*question, "--as", "role:operator").out
    publish_rows(elsewhere, {"doc_id": "hr/zeppelin", "op": "access", "acl": ["user:ben"]})
    running.caught_up()
    assert "40 marks" in elsewhere.run(*question, "--as", "user:ben").out
    elsewhere.run(*question, "--as", "group:hr", expect=1)
    publish_rows(elsewhere, {"doc_id": "hr/zeppelin", "op": "delete"})
    running.caught_up()
    gone = elsewhere.run(*question, "--as", "user:ben", expect=1)
    assert "I don't know based on the available knowledge." in gone.out


def test_a_null_value_deletes(running: Up, elsewhere: Shell) -> None:
    """Kafka's own tombstone, and only the document whose key it has."""
    for name in ("keep", "drop"):
        publish_rows(
            elsewhere,
            {
                "doc_id": f"null/{name}",
                "op": "upsert",
                "acl": ["*"],
                "content": {"text": f"# Null {name}\n\nA word for {name}.\n"},
            },
        )
    tombstone = OutRecord("", b"null/drop", None, timestamp_ms=time.time_ns() // 1_000_000 + 1)
    assert deliver(running.running.door, running.running.token, [tombstone])
    running.caught_up()
    shown = {name: elsewhere.run("inspect", f"null/{name}", "--json").json for name in ("keep", "drop")}
    assert (shown["keep"]["status"], shown["drop"]["status"]) == ("live", "deleted")
    assert shown["drop"]["chunks"] == []


@pytest.mark.slow
def test_time_to_live_ends_a_document(running: Up, elsewhere: Shell) -> None:
    """Not shown from its end on; its rows go too."""
    text = "# Lottery\n\nThe lottery's jackpot is a turnip.\n"
    publish_rows(elsewhere, {"doc_id": "ttl", "op": "upsert", "acl": ["*"], "ttl_seconds": 8, "content": {"text": text}})
    running.caught_up()
    assert "turnip" in elsewhere.run("ask", "What is the lottery's jackpot?").out
    wait_until(lambda: elsewhere.run("ask", "What is the lottery's jackpot?", expect=None).code == 1, within_s=30, what="its end")
    assert elsewhere.run("inspect", "ttl", "--json").json["status"] == "expired"


def test_lines_that_are_no_change_are_reported_and_the_others_published(running: Up, elsewhere: Shell) -> None:
    """Exit code 65, and where and why in `--json`."""
    good = {"doc_id": "lines/good", "op": "upsert", "acl": ["*"], "event_time": now(), "content": {"text": "A good line.\n"}}
    rows = [
        json.dumps(good).encode(),
        b"this is no JSON",
        json.dumps({**good, "doc_id": 7}).encode(),
        json.dumps({**good, "op": "replace"}).encode(),
        json.dumps({**good, "schema_version": 9}).encode(),
        json.dumps(good).encode().replace(b"good line", b"\xff line"),
        json.dumps({**good, "doc_id": "lines/large", "content": {"text": "x" * 3_000_000}}).encode(),
        json.dumps({**good, "doc_id": "lines/last"}).encode(),
    ]
    found = elsewhere.run("publish", "-", "--json", stdin=b"\n".join(rows), expect=65).json
    assert (found["published"], found["problem_count"]) == (2, 6)
    reasons = [problem["reason"] for problem in found["problems"]]
    assert sorted(reasons) == sorted(
        ["not_json", "invalid", "unknown_op", "unknown_schema_version", "not_json", "message_too_large"]
    )
    assert any(problem["where"].endswith(":2") for problem in found["problems"])
    running.caught_up()
    for doc_id in ("lines/good", "lines/last"):
        assert elsewhere.run("inspect", doc_id, "--json").json["status"] == "live"


def test_status_and_inspect_tell_what_is_there(running: Up, elsewhere: Shell) -> None:
    """Fields that scripts rely on."""
    text = "# Menu\n\nMonday is soup.\n\n# Drinks\n\nWater is free.\n"
    publish_rows(elsewhere, {"doc_id": "menu", "op": "upsert", "acl": ["*", "group:kitchen"], "content": {"text": text}})
    status = running.caught_up()
    assert status["embedded"] is True
    assert status["generation"] == "g1"
    assert {partition["partition"] for partition in status["partitions"]} == {0, 1, 2, 3}
    assert all(partition["watermark"] == partition["end"] for partition in status["partitions"])
    assert status["outcomes"]["indexed"] >= 1
    assert (status["ingest"]["state"], status["query"]["state"]) == ("ready", "ready")
    assert status["documents"] == sum(counts["documents"] for counts in status["indexes"].values())
    assert len(status["models"]) == len(status["chunkers"]) == 1
    lines = [json.loads(line) for line in elsewhere.run("inspect", "--jsonl").out.splitlines()]
    (menu,) = [line for line in lines if line["doc_id"] == "menu"]
    wanted = {
        "doc_id",
        "index",
        "version",
        "deleted",
        "acl",
        "acl_lists",
        "expires_at",
        "expires_at_ms",
        "content_hash",
        "chunks",
        "source",
        "failed_version",
    }
    assert wanted <= set(menu)
    assert (menu["acl"], menu["acl_lists"]) == (["*", "group:kitchen"], [["*", "group:kitchen"]])
    assert menu["expires_at"] is None
    assert "".join("".join(chunk["text"] for chunk in menu["chunks"]).split()) == "".join(text.split())
    assert elsewhere.run("inspect", "no-such-document", expect=1).out == ""


@pytest.mark.slow
def test_doctor_finds_nothing_wrong(elsewhere: Shell) -> None:
    """On a system that runs as it should."""
    found = elsewhere.having(**{"EMBEDDING__KIND": "hashing"}).run("doctor", "--json").json
    assert found["ok"], [finding for finding in found["findings"] if not finding["ok"]]


def test_a_second_one_in_the_same_directory_is_refused(running: Up) -> None:
    """With the process that holds it, and what to do."""
    refused = running.shell.run("up", expect=78)
    assert f"in use by process {running.process.pid}" in refused.err
    assert "RAG_DATA_DIR" in refused.err
    assert running.ingest().state == "ready"
