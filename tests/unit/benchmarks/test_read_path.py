"""The read path's figures: what is subtracted from a wall time, what counts as above the line, and what the page says of them."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.asking import Asked, events_in
from benchmarks.canary import result_of, schedule
from benchmarks.percentiles import percentiles
from benchmarks.read import own_ms
from benchmarks.report import page, summary
from benchmarks.texts import corpus, distinct_questions
from benchmarks.timed_calls import Call, CallLog, covered_s, read_calls
from query_api.canary import Flight, Point
from schemas.index import DocKey

moments = st.integers(0, 40)
calls = st.lists(st.tuples(moments, moments).map(lambda pair: Call("milvus", min(pair), max(pair))), max_size=8)


@given(calls=calls, began=moments, took=moments)
def test_time_that_is_covered_counts_once(calls: list[Call], began: int, took: int) -> None:
    """Against counting second by second: calls overlap, and reach beyond the request."""
    ended = began + took
    by_hand = sum(any(call.began_s <= second and second + 1 <= call.ended_s for call in calls) for second in range(began, ended))
    assert covered_s(calls, began, ended) == by_hand


def test_own_cost_is_what_neither_encoder_nor_milvus_took() -> None:
    """10 s of wall time, of which 2 s encoding, 3 s searching, and another request's search."""
    asked = Asked(100.0, 110.0, {})
    log = [Call("encoder", 101.0, 103.0), Call("milvus", 103.0, 106.0), Call("milvus", 120.0, 130.0)]
    assert own_ms(asked, log) == pytest.approx(5_000)


def test_calls_come_back_as_they_were_noted(tmp_path: Path) -> None:
    """Also the call that failed."""
    log = CallLog(tmp_path / "calls.jsonl")
    with log.call("encoder"):
        pass
    with pytest.raises(KeyError), log.call("milvus"):
        raise KeyError
    log.close()
    found = read_calls(tmp_path / "calls.jsonl")
    assert [call.kind for call in found] == ["encoder", "milvus"]
    assert all(call.ended_s >= call.began_s for call in found)


def test_server_sent_events_are_read_line_by_line() -> None:
    """Names hold for one event; comments and empty lines are nothing."""
    lines = [b": keep-alive\n", b"\n", b"event: delta\n", b'data: {"text": "a: b"}\n', b"\n", b"data: 1\n", b"\n"]
    assert list(events_in(lines)) == [("delta", b'{"text": "a: b"}'), ("message", b"1")]


def test_percentiles_need_values() -> None:
    """Too few to tell is an error, not a figure."""
    assert percentiles([float(n) for n in range(101)])["p95"] == 95
    with pytest.raises(ValueError, match="1 values have no percentiles"):
        percentiles([1.0])


def test_no_question_is_asked_twice() -> None:
    """What was asked once may be remembered."""
    questions = distinct_questions(None, corpus(None, None, most=200))
    assert len(questions) == len({question.casefold() for question in questions}) > 50


def test_commits_come_whole_and_evenly(tmp_path: Path) -> None:
    """All changes of a commit at its moment."""
    file = tmp_path / "history.jsonl.xz"
    events = [{"commit": commit, "op": "upsert", "path": name, "content": name} for commit, name in ("aa", "ab", "bc")]
    with lzma.open(file, "wt", encoding="utf-8") as lines:
        lines.writelines(f"{json.dumps(event)}\n" for event in events)
    assert [(change.after_s, change.path) for change in schedule(file, None, 10.0)] == [(0.0, "a"), (0.0, "b"), (5.0, "c")]


def point(stated_s: float | None, true_s: float, *, early: bool = False) -> Point:
    flight = Flight(DocKey("docs", "a"), 1, "w", 0.0, 0.0)
    return Point(10.0, stated_s, true_s, true_s + 0.01, (flight,) if early else ())


def test_a_point_above_the_line_is_counted() -> None:
    """And one that is above it only when counted from before the sending is told apart."""
    result = result_of([point(1.0, 0.5), point(1.0, 2.0, early=True), point(1.0, 0.995), point(None, 9.0)])
    assert (result["above"], result["contradictions"], result["unknown"]) == (1, 1, 1)
    assert result["above_since_sent"] == 2


def timings(p50: float, p95: float | None = None) -> dict[str, float]:
    """As `percentiles` gives them."""
    return {"count": 300, "p50": p50, "p95": p95 or 2 * p50, "p99": 3 * p50, "max": 4 * p50}


def read_result(own_p50: float = 8.0, busy_p95: float = 30.0) -> dict[str, Any]:
    one = {"callers": 8, "answers_per_s": 90.0, "wall_ms": timings(80), "modes": {}, "outcomes": {"answered": 9}, "degraded": {}}
    return {
        "index": {"documents": 5_000, "chunks": 20_000},
        "encoder": {"variant": "cpu", "questions_per_s": {"one at a time": 200.0, "batches of 32": 400.0}},
        "own": {
            **{name: timings(5) for name in ("wall_ms", "encoder_ms", "milvus_ms")},
            "own_ms": timings(own_p50),
            **{name: {"hybrid": 3} for name in ("modes", "outcomes", "degraded")},
        },
        "steps": {"retrieve": 9.0, "assemble": 1.0},
        "cached": {"asked": 10, "modes": {"cached": 9}, "wall_ms": timings(9)},
        "throughput": [one],
        "edits": {
            "limit_chunks_per_s": 300.0,
            "events": 100,
            "chunks_per_s": 90.0,
            "seconds": 30.0,
            "idle_ms": timings(10, 20),
            "busy_ms": timings(15, busy_p95),
            "stated_lag_ms": timings(900),
        },
    }


def canary_result(above: int = 0) -> dict[str, Any]:
    lags = timings(1.0)
    ours = {
        **dict.fromkeys(("events", "published_s", "reflected_s", "canaries", "points", "unknown", "above_since_sent"), 10),
        **{"above": above, "violations": above, "above_since_sent_ms": 3.0, "chart": [(0.0, 1.0, 0.5)]},
        **{name: lags for name in ("stated_s", "true_s", "between_s")},
    }
    refresh = dict.fromkeys(("changes", "refreshed", "ended_s", "longest_refresh_s", "window_s"), 5)
    return {"ours": ours, "refresh": {**refresh, "precision": "bf16", "lag_s": lags}}


def about(result: dict[str, Any]) -> dict[str, Any]:
    machine = dict.fromkeys(("processor", "family", "cores", "bf16", "memory", "system", "packages", "commit"), "x")
    return {"result": result, "machine": machine, "at": "2026-11-25 04:00", "load": [0.1, 3.0]}


def test_the_page_has_every_part_of_the_read_path() -> None:
    """Each with its section, none missed here."""
    theirs = {name: {"took_ms": timings(300), "precision": "bf16", "llama-index-core": "0"} for name in ("defaults", "same")}
    stream = {"asked": 10, "outcomes": {"answered": 10}, "delay_ms": timings(3)}
    parts = {
        "read": read_result(),
        "stream": stream,
        "hybrid": {"chunks": 20_000, "ours_ms": timings(20), "theirs": theirs},
        "canary": canary_result(),
    }
    text = page({name: about(result) for name, result in parts.items()})
    assert "missed" not in text
    for heading in ("Reads over HTTP", "While edits arrive", "Streams", "hybrid query engine", "Stated lag and true lag"):
        assert heading in text


@pytest.mark.parametrize(
    ("part", "result"),
    [
        pytest.param("read", read_result(own_p50=11.0), id="own cost"),
        pytest.param("read", read_result(busy_p95=41.0), id="edits"),
        pytest.param("canary", canary_result(above=1), id="one point above the line"),
    ],
)
def test_what_is_missed_is_said(part: str, result: dict[str, Any]) -> None:
    """With the reason, on the page and on the terminal."""
    assert "**missed**" in page({part: about(result)})
    assert any("MISSED" in line for line in summary(part, result))
