"""Replay: events with newer versions and unchanged content, through one worker on real Kafka; nothing may be embedded."""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from benchmarks.stack import Servers, Stack, make_settings, real_stack
from connectors.embedding import HashingEmbedder
from flows.ingest import metrics

DOCUMENTS = 2_000
EVENT_BYTES = 1_000
WARM_UP_SHARE = 0.1


def event(number: int, version: int) -> tuple[bytes, bytes]:
    """A change of about 1 kB: title, ACL, version and 700 characters of Markdown."""
    doc_id = f"handbook/section-{number:05d}"
    words = hashlib.sha256(doc_id.encode()).hexdigest()
    paragraph = f"Article {number}. Transfers of kind {words[:12]} may reach {number} euros a week; {words[12:20]} is told. "
    fields: dict[str, Any] = {
        "schema_version": 1,
        "op": "upsert",
        "doc_id": doc_id,
        "version": version,
        "title": f"Section {number}",
        "acl": ["group:staff", "group:support"],
        "content": {"text": "", "media_type": "text/markdown"},
    }
    room = EVENT_BYTES - len(orjson.dumps(fields))
    fields["content"]["text"] = (f"# Section {number}\\n\\n" + paragraph * 20)[:room]
    return doc_id.encode(), orjson.dumps(fields)


def events(documents: int, versions: range) -> Iterator[tuple[bytes, bytes]]:
    """Every document once a version, versions in order."""
    templates = [event(number, 0) for number in range(documents)]
    for version in versions:
        for key, value in templates:
            yield key, value.replace(b'"version":0', b'"version":%d' % version, 1)


def measure(servers: Servers, data_dir: Path, *, count: int) -> dict[str, Any]:
    """Fill the index, publish `count` unchanged events with newer versions, and ingest them with a new process state."""
    settings = make_settings(data_dir, indexes={"docs": {"versions": "producer"}})
    with real_stack(servers, settings, HashingEmbedder(384)) as stack:
        stack.publish_raw(events(DOCUMENTS, range(1, 2)))
        stack.ingest()
        rounds = max(2, count // DOCUMENTS)
        began = time.perf_counter()
        published = stack.publish_raw(events(DOCUMENTS, range(2, 2 + rounds)))
        publishing_s = time.perf_counter() - began
        return _replayed(stack, published) | {"publishing_events_per_s": published / publishing_s}


def _replayed(stack: Stack, published: int) -> dict[str, Any]:
    embedded = _embedded()
    unchanged = metrics.EVENTS.labels("unchanged")._value.get()
    cpu = time.process_time()
    runtime = stack.ingest()
    cpu = time.process_time() - cpu
    began = runtime.first_read_s or 0.0
    ended = max(commit.at_s for commit in runtime.commits)
    count = sum(commit.events for commit in runtime.commits)
    assert count == published, f"{count} of {published} events were committed"
    return {
        "events": count,
        "events_per_s": count / (ended - began),
        "seconds": ended - began,
        "cpu_us_per_event": 1e6 * cpu / count,
        "embeddings": _embedded() - embedded,
        "unchanged": metrics.EVENTS.labels("unchanged")._value.get() - unchanged,
        "event_bytes": len(event(0, 0)[1]),
        "commits": len(runtime.commits),
        "load": os.getloadavg()[0],
    }


def _embedded() -> float:
    return float(metrics.CHUNKS.labels("encoder")._value.get())


def run(servers: dict[str, Any], data_dir: str, count: int, rounds: int) -> dict[str, Any]:
    """Several times, each with topics of its own; the median and all of them."""
    runs = [measure(Servers(**servers), Path(data_dir), count=count) for _ in range(rounds)]
    return {"events_per_s": statistics.median(one["events_per_s"] for one in runs), "runs": runs}
