"""`ragstream up` ends and comes back: nothing that was accepted is lost, and nothing is embedded again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from connectors.milvus import create_vector_store
from ragstream.asking import ask, new_query_id
from ragstream.embedded.running import find
from ragstream.inspection.status import read_status
from ragstream.reach import reach
from schemas.queries import QueryRequest
from schemas.settings import Settings
from tests.e2e.cli.commands import Up, new_shell, up, write_docs
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

STOP_AT_MOST_S = 6.0
"""A tenth of it on an idle machine; the suite's machine is not idle."""


def documents(whole: Up) -> dict[str, Any]:
    """Everything the index holds, without what a new life dates anew."""
    lines = (json.loads(line) for line in whole.shell.run("inspect", "--jsonl").out.splitlines())
    return {line["doc_id"]: {**line, "written_at_ms": 0, "superseded": []} for line in lines}


def rows(whole: Up) -> set[str]:
    settings = Settings(data_dir=whole.running.data_dir)
    store = create_vector_store(settings, whole.running.milvus_uri)
    try:
        return set(store.row_ids(settings.collection("docs")))
    finally:
        store.close()


def live_rows(found: dict[str, Any]) -> set[str]:
    return {chunk["row_id"] for document in found.values() for chunk in document["chunks"]}


def test_a_stop_is_quick_and_a_restart_has_everything_at_no_embeddings(tmp_path: Path) -> None:
    """Edits, a delete and an end that comes while it is away included; rows are exactly those of what is live."""
    shell = new_shell(tmp_path, INGEST__GARBAGE_GRACE_S="0.2")
    docs = write_docs(shell.cwd / "docs", **{f"doc-{n}": f"# Doc {n}\n\nThe secret of {n} is {n * 7}.\n" for n in range(20)})
    with up(shell, tmp_path / "first.log") as first:
        shell.run("publish", "docs", "--acl", "*")
        write_docs(docs, **{"doc-3": "# Doc 3\n\nThe secret of 3 is a melon.\n"})
        shell.run("publish", "docs", "--acl", "*", "--now")
        shell.run("publish", "docs/doc-4.md", "--delete")
        soon = {"op": "upsert", "doc_id": "soon", "acl": ["*"], "ttl_seconds": 5, "content": {"text": "# Soon\n\nGone soon.\n"}}
        shell.run("publish", "-", stdin=json.dumps(soon).encode())
        first.caught_up()
        before = documents(first)
        assert first.encoded() >= 21
        began = time.monotonic()
        assert first.stop() == 0, first.log.read_text()[-3000:]
        assert time.monotonic() - began < STOP_AT_MOST_S
    assert b"Traceback" not in first.log.read_bytes()
    with up(shell, tmp_path / "second.log") as second:
        second.caught_up()
        assert second.encoded() == 0
        after = documents(second)
        assert {k: v for k, v in after.items() if k != "soon"} == {k: v for k, v in before.items() if k != "soon"}
        wait_until(lambda: documents(second)["soon"]["status"] == "expired", within_s=20, what="the end that came meanwhile")
        assert "melon" in shell.run("ask", "What is the secret of 3?").out
        wait_until(lambda: rows(second) == live_rows(documents(second)), within_s=20, what="only live rows to be left")
        assert second.stop() == 0


def test_a_restart_never_shows_what_was_deleted_before_it(tmp_path: Path) -> None:
    """Not even for the moment in which the journal's beginning is replayed and its end is not: the question waits."""
    shell = new_shell(tmp_path)
    secret = {"doc_id": "secret", "event_time": "2026-03-01T12:00:00Z"}
    filler = ({"doc_id": f"filler/{n}", "content": {"text": f"# Filler {n}\n\nNothing of note, {n}.\n"}} for n in range(1_500))
    rows = [
        {**secret, "op": "upsert", "acl": ["*"], "content": {"text": "# Password\n\nThe vault's password is swordfish.\n"}},
        *({**row, "op": "upsert", "acl": ["*"], "event_time": "2026-03-01T12:00:00Z"} for row in filler),
        {**secret, "op": "delete", "event_time": "2026-03-02T12:00:00Z"},
    ]
    with up(shell, tmp_path / "first.log") as first:
        shell.run("publish", "-", stdin="\n".join(map(json.dumps, rows)).encode())
        first.caught_up()
        assert first.stop() == 0
    # A chunk at a time: the replay takes seconds, and a question comes in the middle of it.
    process = shell.having(INGEST__IN_FLIGHT_CHUNKS="3").start(tmp_path / "second.log", "up")
    try:
        settings = Settings(data_dir=shell.cwd / ".ragstream")
        wait_until(lambda: find(settings.data_dir), within_s=60, what="the second life to be found")
        found = reach(settings)
        request = QueryRequest(query_id=new_query_id(), question="What is the vault's password?")
        answer = ask(found.settings, found.link, request, timeout_s=60)
        assert "swordfish" not in answer.model_dump_json()
        assert answer.outcome in ("answered", "unknown")
        assert sum(p.reflected == p.end for p in read_status(found).partitions) == 4
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_what_was_accepted_survives_kill_9(tmp_path: Path) -> None:
    """Killed in the middle of a publication: what the publisher was told is there, and publishing again completes it."""
    shell = new_shell(tmp_path)
    lines = [
        json.dumps(
            {
                "op": "upsert",
                "doc_id": f"d/{n}",
                "acl": ["*"],
                "event_time": "2026-03-01T12:00:00Z",
                "content": {"text": f"# D{n}\n\nFact {n}.\n"},
            }
        )
        for n in range(3_000)
    ]
    (shell.cwd / "rows.jsonl").write_text("\n".join(lines))
    log = tmp_path / "publish.log"
    with up(shell, tmp_path / "first.log") as first:
        publisher = shell.start(log, "publish", "rows.jsonl", "--json")
        journal = first.running.data_dir / "journal" / "events.log"
        wait_until(lambda: journal.stat().st_size > 50_000, within_s=30, what="a part to be accepted")
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        assert publisher.wait(60) in (0, 75), log.read_text()
    said = log.read_text()
    known = 3_000 if publisher.returncode == 0 else int(said.split(" changes are known")[0].split()[-1].replace(",", ""))
    with up(shell, tmp_path / "second.log") as second:
        second.caught_up()
        found = set(documents(second))
        assert {f"d/{n}" for n in range(known)} <= found
        shell.run("publish", "rows.jsonl")
        assert second.caught_up()["documents"] == 3_000
        # What the killed life embedded is in the cache on disk, or was in flight.
        assert second.encoded() <= 3_000
        assert second.stop() == 0
