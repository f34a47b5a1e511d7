"""A query worker in a process of its own, to be killed: `python -m tests.e2e.query.worker_process SETTINGS_JSON`.

Its pipeline answers every question with the process's name, except those it is told to hang on.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from connectors.kafka.link import KafkaLink
from query_api.deadline import Deadline
from query_api.metrics import QueryMetrics
from query_api.query import Listen
from query_api.serving import run
from query_api.stopping import StopSignal
from schemas.queries import AnswerEvent, AsOf, QueryRequest
from schemas.settings import KafkaSettings, QuerySettings, Settings, TopicSettings


class NamedPipeline:
    """Answers with `name` after `delay_s`; hangs on the question `hang` where told so, and spells that and `spell` in deltas."""

    def __init__(self, name: str, delay_s: float = 0.0, *, hangs: bool = False) -> None:
        self.name = name
        self._delay_s = delay_s
        self._hangs = hangs

    def as_of(self) -> AsOf:
        return AsOf()

    async def answer(self, request: QueryRequest, deadline: Deadline, listen: Listen | None = None) -> AnswerEvent:
        for seq, piece in enumerate(self.name):
            if listen is not None and request.question in ("hang", "spell"):
                await listen(AnswerEvent(query_id=request.query_id, kind="delta", attempt=1, seq=seq, delta=piece))
        await asyncio.sleep(3_600 if self._hangs and request.question == "hang" else self._delay_s)
        return AnswerEvent(query_id=request.query_id, outcome="answered", text=self.name)


def settings_for(prefix: str, bootstrap: str, data_dir: Path, **query: Any) -> Settings:
    """Settings whose topics and group are one test's own."""
    topics = TopicSettings(queries=f"{prefix}.queries", answers=f"{prefix}.answers", dead_letters=f"{prefix}.dead-letters")
    kafka = KafkaSettings(bootstrap_servers=bootstrap, query_group=f"{prefix}.group", topics=topics)
    return Settings(data_dir=data_dir, kafka=kafka, query=QuerySettings(**query))


def main() -> None:
    given = json.loads(sys.argv[1])
    settings = settings_for(given["prefix"], given["bootstrap"], Path(given["data_dir"]), deadline_s=given["deadline_s"])
    stop = StopSignal()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    pipeline = NamedPipeline(given["name"], given["delay_s"], hangs=given["hangs"])
    link = KafkaLink(settings.kafka, given["bootstrap"], embedded=given["embedded"])
    started = lambda: print("started", flush=True)  # noqa: E731, T201  the test waits for this line
    run(settings, link, pipeline, QueryMetrics(CollectorRegistry()), stop, started)


if __name__ == "__main__":
    main()
