"""More than the embedded broker holds (5 MiB, 100,000 messages a partition, silent loss): publishers wait, nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.wire import from_ms
from tests.e2e.cli.commands import Up, new_shell, up

START_MS = 1_760_000_000_000
LARGE, SMALL = 3_000, 50
REPEATS = 2_200
BROKER_BYTES, BROKER_MESSAGES = 5 * 1024 * 1024, 100_000
WITHIN_S = 400.0

WORDS = ("account", "balance", "transfer", "receipt", "branch", "deposit", "interest", "mortgage", "currency", "statement")


def text_of(number: int) -> str:
    """About 4 kB, different for every document."""
    lines = (
        f"{WORDS[(number + n) % 10].capitalize()} number {number * 97 + n} is held by {WORDS[(number * n) % 10]}."
        for n in range(90)
    )
    return f"# Document {number}\n\n" + " ".join(lines) + "\n"


def changes() -> Iterator[dict[str, object]]:
    """Large documents among small ones whose unchanged content comes again and again with newer times."""
    clock = START_MS
    for number in range(LARGE):
        clock += 1
        yield upsert(f"large/{number}", text_of(number), clock)
        for small in range(SMALL * REPEATS * number // LARGE, SMALL * REPEATS * (number + 1) // LARGE):
            clock += 1
            yield upsert(f"small/{small % SMALL}", f"# Small\n\nSmall document {small % SMALL}.\n", clock)


def upsert(doc_id: str, text: str, clock: int) -> dict[str, object]:
    event_time = from_ms(clock).isoformat()
    return {"op": "upsert", "doc_id": doc_id, "acl": ["*"], "event_time": event_time, "content": {"text": text}}


def assert_complete(whole: Up) -> None:
    status = whole.caught_up(WITHIN_S)
    assert status["outcomes"] == {"indexed": LARGE + SMALL, "unchanged": SMALL * (REPEATS - 1)}
    assert status["documents"] == LARGE + SMALL
    texts = {}
    for line in whole.shell.run("inspect", "--jsonl", "--live-only").out.splitlines():
        document = json.loads(line)
        texts[document["doc_id"]] = "".join("".join(chunk["text"] for chunk in document["chunks"]).split())
    assert len(texts) == LARGE + SMALL
    assert all(texts[f"large/{number}"] == "".join(text_of(number).split()) for number in range(LARGE))
    assert whole.ingest().state == "ready"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_more_than_the_broker_holds_is_all_indexed_and_comes_back(tmp_path: Path) -> None:
    """One partition; documents and manifests both exceed it several times. A restart replays it all, at no embeddings."""
    shell = new_shell(tmp_path, KAFKA__PARTITIONS="1")
    rows = tmp_path / "rows.jsonl"
    with rows.open("w") as file:
        published = sum(file.write(json.dumps(change) + "\n") > 0 for change in changes())
    assert published > BROKER_MESSAGES
    assert rows.stat().st_size > 4 * BROKER_BYTES
    assert sum(len(text_of(number)) for number in range(LARGE)) > 2 * BROKER_BYTES
    with up(shell, tmp_path / "first.log") as first:
        said = shell.run("publish", str(rows), "--json", timeout_s=WITHIN_S).json
        assert (said["published"], said["problem_count"]) == (published, 0)
        assert_complete(first)
        assert first.stop() == 0
    with up(shell, tmp_path / "second.log") as second:
        assert_complete(second)
        assert second.encoded() == 0
        assert second.stop() == 0
