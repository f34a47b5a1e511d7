"""`ragstream demo`: the whole story with the real encoder, on the help centre and on one's own data."""

from __future__ import annotations

import json
import lzma
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cli.commands import Shell, new_shell, write_docs
from tests.waiting import wait_until

HELD = "Every promise held."
SLICE = 8

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return new_shell(tmp_path)


def test_the_story_of_the_help_centre_holds(shell: Shell) -> None:
    """Without a terminal it ends by itself, with status 0; with the real encoder."""
    told = shell.having(EMBEDDING__KIND="sentence-transformers").run("demo", timeout_s=300).out
    assert HELD in told
    for act in ("Ingest", "Ask", "Edit", "Rights", "Revoke", "Delete", "Replay", "Restart"):
        assert f"\n{act}" in told
    assert "I don't know based on the available knowledge." in told
    assert "first answer" in told


def test_what_it_says_to_try_next_works_as_it_is_printed(shell: Shell, tmp_path: Path) -> None:
    """Copied into another terminal, where no virtual environment is active."""
    data = write_docs(shell.cwd / "mine", roof="# Roof\n\nThe roof does not open.\n")
    log = tmp_path / "demo.log"
    # Who asks in one's own system is nothing to the demo's.
    process = shell.having(AUTH__REQUIRE_SIGNED_QUERIES="true").start(log, "demo", "--data", str(data), "--stay", "yes")
    try:
        wait_until(lambda: "Ctrl-C ends it" in log.read_text(), within_s=200, what="the demo to stay up")
        lines = log.read_text().partition("try:\n")[2].partition("Over HTTP")[0].splitlines()
        assert len(lines) > 4
        terminal = {**shell.environment(), "PATH": "/usr/bin:/bin"}
        for line in lines:
            assert subprocess.run(["/bin/sh", "-n", "-c", line], check=False, timeout=10).returncode == 0
            if "publish" in line or "status" in line:
                done = subprocess.run(
                    line, shell=True, cwd=shell.cwd, env=terminal, capture_output=True, text=True, check=False, timeout=60
                )
                assert (done.returncode, "not found" in done.stderr) == (0, False), (line, done.stderr)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_folder_of_one_s_own(shell: Shell) -> None:
    """DATA=folder: Markdown and HTML, one level down too."""
    folder = write_docs(
        shell.cwd / "mine", **{f"door-{n}": f"# Door {n}\n\nDoor {n} opens with key {n * 13}.\n" for n in range(6)}
    )
    write_docs(folder / "deeper", window="# Windows\n\nWindows open with a handle.\n")
    (folder / "page.html").write_text("<h1>Roof</h1><p>The roof does not open.</p>")
    told = shell.run("demo", "--data", str(folder), timeout_s=200).out
    assert HELD in told
    assert "8 change events → 8 live documents" in told


def test_jsonl_of_one_s_own(shell: Shell) -> None:
    """DATA=file.jsonl: changes as they are published."""
    rows = [
        {
            "op": "upsert",
            "doc_id": f"row/{n}",
            "event_time": f"2026-03-01T12:00:0{n}Z",
            "content": {"text": f"# Row {n}\n\nFact {n}.\n"},
        }
        for n in range(5)
    ]
    rows.append({"op": "delete", "doc_id": "row/0", "event_time": "2026-03-02T12:00:00Z"})
    file = shell.cwd / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    told = shell.run("demo", "--data", str(file), "--stay", "no", timeout_s=200).out
    assert HELD in told
    assert "6 change events → 4 live documents" in told


def test_a_real_history(shell: Shell) -> None:
    """Events of a documentation site, compressed; the real encoder. Every eighth document with all of its revisions.

    All 4,547 go through the real encoder in tests/e2e/ingest/test_real_history.py: 22,000 chunks, which are minutes of work for
    an encoder.
    """
    folder = os.environ.get("RAG_TEST_DATA", "")
    file = Path(folder) / "milvus-docs-history.jsonl.xz"
    if not folder or not file.exists():
        pytest.skip(f"{file.name} is not here: name its folder with RAG_TEST_DATA")
    events, live = sliced(file, shell.cwd / "history.jsonl.xz")
    assert events > 400
    told = shell.having(EMBEDDING__KIND="sentence-transformers").run("demo", "--data", "history.jsonl.xz", timeout_s=300).out
    assert HELD in told
    assert f"{events} change events → {live} live documents" in told


def sliced(whole: Path, part: Path) -> tuple[int, int]:
    """Write the history of every eighth document; return its events and how many documents live at its end."""
    numbers: dict[str, int] = {}
    last: dict[str, str] = {}
    events = 0
    with lzma.open(whole, "rt", encoding="utf-8") as lines, lzma.open(part, "wt", encoding="utf-8", preset=0) as written:
        for line in lines:
            event = json.loads(line)
            if numbers.setdefault(event["path"], len(numbers)) % SLICE == 0:
                written.write(line)
                events += 1
                last[event["path"]] = event["op"]
    return events, sum(op == "upsert" for op in last.values())


def test_data_that_is_not_there_is_said(shell: Shell) -> None:
    """Exit code 78, with what DATA takes."""
    refused = shell.run("demo", "--data", "nowhere", expect=78, timeout_s=200)
    assert "DATA takes a folder, a file, or JSONL" in refused.err
