"""The read path over HTTP on real Kafka, Milvus and Redis: its own cost, remembered answers, many callers, edits meanwhile.

Own cost of a read is the client's wall time less the time in which the encoder or Milvus was at work on it: threads' hand-overs,
Tantivy, checks, fusion, assembly and HTTP are ours.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from benchmarks.asking import Asked, one_by_one, side_by_side
from benchmarks.child import in_own_process
from benchmarks.edits import Plan, edits_arriving
from benchmarks.percentiles import percentiles
from benchmarks.read_server import ReadServer, dumped, read_server
from benchmarks.read_stack import ReadStack, as_json
from benchmarks.timed_calls import Call, covered_s, read_calls
from connectors.embedding import create_embedder
from schemas.settings import Settings

CALLERS: Final = (1, 8, 32)
WARM_UP: Final = 30
ENCODER_BATCH: Final = 32
EDIT_SHARE: Final = 0.3
"""Of the chunks that the encoder can do a second."""
ENCODER_ROUNDS: Final = 3


def measure(stack: ReadStack, *, quick: bool) -> dict[str, Any]:
    """All of it on one server. Questions are never asked twice but where that is what is measured."""
    samples, seconds, editing_s = (40, 3.0, 8.0) if quick else (300, 10.0, 30.0)
    questions = iter(stack.questions)
    common = {"settings": dumped(stack.settings), "texts": as_json(stack.texts)}
    encoder = in_own_process("benchmarks.read:encoder_limit", common | {"questions": _next(questions, samples)})
    with read_server(stack.servers, stack.settings, "server") as server:
        one_by_one(server.url, _next(questions, WARM_UP))
        own, answered = own_cost(server, _next(questions, samples))
        result = {
            "index": stack.about,
            "encoder": encoder,
            "own": own,
            "steps": steps(server, _next(questions, samples // 4)),
            "cached": cached(server, answered),
            "throughput": [throughput(server, questions, callers, seconds) for callers in CALLERS],
        }
        plan_given = common | {"share": EDIT_SHARE, "seconds": editing_s, "folder": str(stack.settings.data_dir)}
        plan = Plan(**in_own_process("benchmarks.edits:plan", plan_given))
        result["edits"] = while_edits_arrive(stack, server, questions, plan, samples)
    return result


def own_cost(server: ReadServer, questions: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """One caller; what of each wall time was not the encoder's or Milvus's. Also the questions that got an answer."""
    asked = one_by_one(server.url, questions)
    calls = read_calls(server.calls)
    result = {
        "wall_ms": percentiles([one.took_ms for one in asked]),
        "own_ms": percentiles([own_ms(one, calls) for one in asked]),
        **{
            f"{kind}_ms": percentiles([_covered_ms(one, [call for call in calls if call.kind == kind]) for one in asked])
            for kind in ("encoder", "milvus")
        },
        "modes": Counter(str(one.answer.get("mode")) for one in asked),
        "outcomes": Counter(str(one.answer.get("outcome")) for one in asked),
        "degraded": Counter(reason for one in asked for reason in one.answer.get("degraded", ())),
    }
    pairs = zip(questions, asked, strict=True)
    return result, [question for question, one in pairs if one.answer.get("outcome") == "answered"]


def own_ms(asked: Asked, calls: Sequence[Call]) -> float:
    """Wall time less what encoder and Milvus took of it, where they overlap only once."""
    return asked.took_ms - _covered_ms(asked, calls)


def _covered_ms(asked: Asked, calls: Sequence[Call]) -> float:
    return covered_s(calls, asked.began_s, asked.ended_s) * 1000


def steps(server: ReadServer, questions: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of the pipeline's own steps, as `explain` tells operators."""
    found: dict[str, list[float]] = {}
    for one in one_by_one(server.url, questions, key=server.operator_key, explain=True):
        for name, took_ms in one.answer["explanation"]["timings_ms"].items():
            found.setdefault(name, []).append(took_ms)
    return {name: statistics.median(values) for name, values in found.items()}


def cached(server: ReadServer, questions: Sequence[str]) -> dict[str, Any]:
    """Questions that were answered, once more. What wasn't answered from memory is counted, and no part of the percentiles."""
    answers = one_by_one(server.url, questions)
    hits = [one.took_ms for one in answers if one.answer.get("mode") == "cached"]
    modes = Counter(str(one.answer.get("mode")) for one in answers)
    return {"asked": len(answers), "modes": modes, "wall_ms": percentiles(hits)}


def throughput(server: ReadServer, questions: Iterator[str], callers: int, seconds: float) -> dict[str, Any]:
    """Answers a second with so many callers, each asking on as soon as it has its answer."""
    asked, took_s = side_by_side(server.url, questions, callers, seconds)
    return {
        "callers": callers,
        "answers_per_s": len(asked) / took_s,
        "wall_ms": percentiles([one.took_ms for one in asked]),
        "modes": Counter(str(one.answer.get("mode")) for one in asked),
        "outcomes": Counter(str(one.answer.get("outcome")) for one in asked),
        "degraded": Counter(reason for one in asked for reason in one.answer.get("degraded", ())),
    }


def while_edits_arrive(
    stack: ReadStack, server: ReadServer, questions: Iterator[str], plan: Plan, samples: int
) -> dict[str, Any]:
    """One caller, first with ingest running idle, then while edits arrive: the same server, minutes apart at most."""
    with edits_arriving(stack, server, plan) as edits:
        idle = one_by_one(server.url, _next(questions, samples))
        edits.begin()
        asked = list[Asked]()
        began_s = time.perf_counter()
        while time.perf_counter() - began_s < plan.seconds:
            asked += one_by_one(server.url, _next(questions, 1))
        sent = edits.end()
    stated = [lag for one in asked if (lag := (one.answer.get("as_of") or {}).get("lag_ms")) is not None]
    return {
        "limit_chunks_per_s": plan.limit_chunks_per_s,
        "events": sent,
        "chunks_per_s": plan.chunks / plan.seconds,
        "seconds": plan.seconds,
        "idle_ms": percentiles([one.took_ms for one in idle]),
        "busy_ms": percentiles([one.took_ms for one in asked]),
        "stated_lag_ms": percentiles(stated),
        "modes": Counter(str(one.answer.get("mode")) for one in asked),
        "degraded": Counter(reason for one in asked for reason in one.answer.get("degraded", ())),
    }


def encoder_limit(settings: dict[str, Any], texts: list[Any], questions: list[str]) -> dict[str, Any]:
    """Questions a second of the bare encoder, alone and in batches; called in a process of its own, with the servers idle."""
    parsed = Settings.model_validate(settings)
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    ways: dict[str, Callable[[], object]] = {
        "one at a time": lambda: [embedder.encode_query(question) for question in questions],
        f"batches of {ENCODER_BATCH}": lambda: [
            embedder.encode_queries(questions[start : start + ENCODER_BATCH]) for start in range(0, len(questions), ENCODER_BATCH)
        ],
    }
    rates = {}
    for name, way in ways.items():
        way()
        times = []
        for _ in range(ENCODER_ROUNDS):
            began_s = time.perf_counter()
            way()
            times.append(time.perf_counter() - began_s)
        rates[name] = len(questions) / min(times)
    return {"variant": embedder.variant, "questions_per_s": rates}


def _next(questions: Iterator[str], count: int) -> list[str]:
    found = list(itertools.islice(questions, count))
    if len(found) < count:
        msg = "the corpus has too few questions for this part; name larger data (--history, --scifact), or take --quick"
        raise ValueError(msg)
    return found
