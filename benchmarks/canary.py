"""Stated lag against true lag while an edit history replays, measured by the built-in canary; LlamaIndex's refresh beside it.

Commits of the history come as they are, all their changes at once, at equal distances in time. `ragstream ingest` is a process of
its own; this one publishes, keeps a view and flies the canary.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import time
from bisect import bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry

from benchmarks.child import in_own_process
from benchmarks.llamaindex import SAME_BATCH, environment
from benchmarks.percentiles import percentiles
from benchmarks.read_server import dumped
from benchmarks.stack import Servers, ingest_process, make_settings, opened_stack, real_stack
from connectors.embedding import HashingEmbedder
from connectors.embedding.hardware import choose, detect
from connectors.embedding.model_files import model_folder
from connectors.kafka import KafkaLink, OutRecord, Producer
from query_api.canary import Canary, CanaryMetrics, Point
from query_api.view import IndexView, KafkaViewLog
from schemas.acl import EVERYONE
from schemas.documents import DocumentChange, InlineText
from schemas.settings import EmbeddingSettings, Settings
from tests.waiting import wait_until

CANARY: Final[dict[str, object]] = {"interval_s": 0.1, "documents_per_partition": 256}
READY_S: Final = 120.0
WARM_POINTS: Final = 20
WARM_LAG_S: Final = 2.0
CATCH_UP_S: Final = 300.0
FLUSH_S: Final = 60.0
SHOWN_POINTS: Final = 60
REFRESH_SHARE: Final = 0.25
"""LlamaIndex gets this part of the history, from its middle: it embeds whole documents again and would take far longer."""
REFRESH_LIMIT_S: Final = 120.0
ROUNDING_S: Final = 0.001


class Timed(NamedTuple):
    """A change of the history and when it is published, in seconds after the beginning."""

    after_s: float
    op: str
    path: str
    text: str


def measure(servers: Servers, folder: Path, history: Path, *, quick: bool) -> dict[str, Any]:
    """Ours over the whole history; LlamaIndex over a part of it, at the same pace."""
    events, seconds = (400, 12.0) if quick else (None, 400.0)
    settings = make_settings(folder / "canary", canary=CANARY)
    given = {"settings": dumped(settings), "history": str(history), "events": events, "seconds": seconds}
    with real_stack(servers, settings, HashingEmbedder(8)):
        ours = in_own_process("benchmarks.canary:replay", given | {"servers": servers._asdict()})
    changes = schedule(history, events, seconds)
    return {"ours": ours, "refresh": refresh(changes, seconds, folder)}


def schedule(history: Path, most: int | None, seconds: float) -> list[Timed]:
    """The changes in their order; the commits spread evenly over `seconds`."""
    with lzma.open(history, "rt", encoding="utf-8") as lines:
        events = [json.loads(line) for line in lines][:most]
    commits = [list(group) for _, group in groupby(events, key=lambda event: event["commit"])]
    return [
        Timed(number * seconds / len(commits), event["op"], event["path"], event.get("content") or "")
        for number, commit in enumerate(commits)
        for event in commit
    ]


def replay(servers: dict[str, Any], settings: dict[str, Any], history: str, events: int | None, seconds: float) -> dict[str, Any]:
    """Publish at the schedule's pace and watch until all of it is reflected. In a process of its own."""
    at, parsed = Servers(**servers), Settings.model_validate(settings)
    changes = schedule(Path(history), events, seconds)
    points: list[Point] = []
    registry = CollectorRegistry()
    with opened_stack(at, parsed, HashingEmbedder(8)) as stack, ingest_process(at, parsed):
        view = IndexView(parsed, KafkaViewLog(stack.link))
        canary = Canary(parsed, stack.link, view, CanaryMetrics(registry), listen=points.append)
        view.start()
        try:
            wait_until(lambda: view.ready().is_ready, within_s=READY_S, what="the view")
            canary.start()
            # The lanes are open and the encoder is warm once canaries come through at once.
            wait_until(lambda: _is_keeping_up(points), within_s=READY_S, what="the canary to be shown at once")
            points.clear()
            shown = _shown(registry)
            began_s = time.monotonic()
            publish(parsed, stack.link, changes)
            published = datetime.now(UTC)
            published_s = time.monotonic() - began_s
            wait_until(lambda: _is_reflected(view, published), within_s=CATCH_UP_S, what="the history to be reflected")
            took_s = time.monotonic() - began_s
        finally:
            canary.stop()
            view.stop()
    return {
        "events": len(changes),
        "published_s": published_s,
        "reflected_s": took_s,
        "canaries": _shown(registry) - shown,
        "not_acknowledged": registry.get_sample_value("rag_query_canaries_total", {"end": "not_acknowledged"}) or 0,
        "violations": registry.get_sample_value("rag_query_canary_violations_total") or 0,
    } | result_of(points)


def publish(settings: Settings, link: KafkaLink, changes: Sequence[Timed]) -> None:
    """Each at its time."""
    producer, began_s = Producer(link), time.monotonic()
    try:
        for change in changes:
            time.sleep(max(0.0, began_s + change.after_s - time.monotonic()))
            producer.send(OutRecord(settings.kafka.topics.documents, change.path.encode(), _as_event(change).to_bytes()))
        producer.flush(FLUSH_S)
    finally:
        producer.close()


def result_of(points: Sequence[Point]) -> dict[str, Any]:
    """How many points lie above the line, and what both lags were."""
    known = [
        (point.at_s, point.stated_lag_s, point.true_lag_s, point.since_sent_s)
        for point in points
        if point.stated_lag_s is not None
    ]
    early = [since_sent - stated for _, stated, _, since_sent in known if since_sent > stated + ROUNDING_S]
    return {
        "points": len(points),
        "unknown": len(points) - len(known),
        "above": sum(true > stated + ROUNDING_S for _, stated, true, _ in known),
        "contradictions": sum(bool(point.contradictions) for point in points),
        "above_since_sent": len(early),
        "above_since_sent_ms": max(early, default=0.0) * 1000,
        "stated_s": percentiles([stated for _, stated, _, _ in known]),
        "true_s": percentiles([true for _, _, true, _ in known]),
        "between_s": percentiles([stated - true for _, stated, true, _ in known]),
        "chart": evenly([(at, stated, true) for at, stated, true, _ in known], SHOWN_POINTS),
    }


def evenly(points: Sequence[tuple[float, float, float]], count: int) -> list[tuple[float, float, float]]:
    """Of measured points the last one before each of `count` moments equally far apart; times count from the first."""
    first_s, last_s = points[0][0], points[-1][0]
    moments = [first_s + (last_s - first_s) * number / (count - 1) for number in range(count)]
    times = [at for at, _, _ in points]
    chosen = [points[max(0, bisect_right(times, moment) - 1)] for moment in moments]
    return [(moment - first_s, stated, true) for moment, (_, stated, true) in zip(moments, chosen, strict=True)]


def refresh(changes: Sequence[Timed], seconds: float, folder: Path) -> dict[str, Any]:
    """LlamaIndex's `refresh_ref_docs`, called again and again with what has changed since, our precision and batch."""
    window_s = REFRESH_SHARE * seconds
    first_s = (seconds - window_s) / 2
    chosen = [change for change in changes if first_s <= change.after_s < first_s + window_s]
    file = folder / "refresh.json"
    file.write_text(json.dumps([change._replace(after_s=change.after_s - first_s) for change in chosen]))
    precision = choose(EmbeddingSettings(), detect()).precision
    options = {"--precision": precision, "--batch": SAME_BATCH, "--limit": window_s + REFRESH_LIMIT_S}
    command = [environment(), "-P", "benchmarks/refresh_run.py", file, model_folder(EmbeddingSettings().model)]
    words = [str(word) for word in (*command, *(part for option in options.items() for part in option))]
    limit_s = READY_S + window_s + 2 * REFRESH_LIMIT_S
    done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True, timeout=limit_s)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    lags_s = found.pop("lags_s")
    return {**found, "window_s": window_s, "lag_s": percentiles(lags_s)}


def _as_event(change: Timed) -> DocumentChange:
    if change.op == "delete":
        return DocumentChange(op="delete", doc_id=change.path)
    return DocumentChange(op="upsert", doc_id=change.path, acl=(EVERYONE,), content=InlineText(text=change.text))


def _shown(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("rag_query_canaries_total", {"end": "visible"}) or 0.0


def _is_keeping_up(points: Sequence[Point]) -> bool:
    stated = [point.stated_lag_s for point in points[-WARM_POINTS:] if point.stated_lag_s is not None]
    return len(stated) == WARM_POINTS and max(stated) < WARM_LAG_S


def _is_reflected(view: IndexView, moment: datetime) -> bool:
    until = view.as_of().reflected_until
    return until is not None and until > moment
