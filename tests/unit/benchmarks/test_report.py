"""The page of figures says what was missed, and why; the corpus that stands in for an edit history has no text twice."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.documents import live_documents
from benchmarks.ingest import _split
from benchmarks.report import page, summary
from benchmarks.stack import Committed
from schemas.documents import InlineText


def replay(rate: float, embeddings: float = 0) -> dict[str, Any]:
    run = {
        "events": 1000,
        "events_per_s": rate,
        "cpu_us_per_event": 40.0,
        "embeddings": embeddings,
        "event_bytes": 1002,
        "load": 0.5,
    }
    return {"events_per_s": rate, "runs": [run]}


def about(result: dict[str, Any]) -> dict[str, Any]:
    machine = dict.fromkeys(("processor", "family", "cores", "bf16", "memory", "system", "packages", "commit"), "x")
    return {"result": result, "machine": machine, "at": "2026-11-23 04:00", "load": [0.1, 3.0]}


def test_a_missed_goal_is_called_missed_with_its_reason() -> None:
    """No figure is left out, and none is dressed up."""
    text = page({"replay": about(replay(12_000))})
    assert "| 12,000 (runs: 12,000) | **missed** |" in text
    assert "## What was missed, and why" in text
    assert "40 µs of processor time" in text


def test_a_met_goal_is_called_met() -> None:
    """And nothing is said to be missed then."""
    text = page({"replay": about(replay(30_000))})
    assert "| 30,000 (runs: 30,000) | met |" in text
    assert "missed" not in text


def test_a_single_embedding_in_a_replay_is_a_miss() -> None:
    """Zero means zero."""
    assert any("MISSED" in line for line in summary("replay", replay(30_000, embeddings=1)))


def test_the_help_centre_is_repeated_with_other_texts() -> None:
    """Each document differs in every paragraph, so that each chunk has to be embedded."""
    documents = live_documents(None, 400)
    texts = [d.content.text for d in documents if isinstance(d.content, InlineText)]
    assert len(set(texts)) == len(documents) == len({d.doc_id for d in documents}) == 400
    long = [part for text in texts for part in text.split("\n\n") if len(part) > 80]
    assert len(set(long)) == len(long)


def test_the_warm_up_ends_with_a_commit() -> None:
    """What comes after it is the steady part; too little to tell is an error."""
    commits = [Committed(float(n), 10, 300, 300, 3000, 0.0) for n in range(5)]
    steady, warm_up = _split(commits)
    assert [len(warm_up), len(steady)] == [2, 3]
    with pytest.raises(ValueError, match="too few"):
        _split(commits[:1])
