"""What the query process counts and times, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from schemas.queries import AnswerEvent

STEP_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NO_MODE: Final = "none"


class QueryMetrics:
    """One per process; names start with `rag_query_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answers = Counter("rag_query_answers", "Answers by outcome and mode.", ["outcome", "mode"], registry=registry)
        self.degraded = Counter("rag_query_degraded", "Answers that lacked something.", ["reason"], registry=registry)
        self.withheld = Counter(
            "rag_query_withheld", "Candidates that a check dropped, by reason.", ["reason"], registry=registry
        )
        self.dead_letters = Counter("rag_query_dead_letters", "Messages that are no query.", ["reason"], registry=registry)
        self.took = Histogram(
            "rag_query_seconds", "From a query's start to its final event.", registry=registry, buckets=STEP_BUCKETS_S
        )
        self.step = Histogram("rag_query_step_seconds", "By step.", ["step"], registry=registry, buckets=STEP_BUCKETS_S)
        self.in_flight = Gauge("rag_query_in_flight", "Queries being worked on.", registry=registry)
        self.unacknowledged = Gauge("rag_query_unacknowledged", "Queries taken and not yet acknowledged.", registry=registry)
        self.redis = Counter("rag_query_redis_failures", "Calls that Redis did not answer.", ["what"], registry=registry)
        self.lag = Gauge("rag_query_stated_lag_seconds", "Lag that the last answer stated; NaN: unknown.", registry=registry)

    def answered(self, event: AnswerEvent, took_s: float, timings_s: Mapping[str, float]) -> None:
        """Count a final event."""
        self.answers.labels(event.outcome, event.mode or NO_MODE).inc()
        for reason in event.degraded:
            self.degraded.labels(reason).inc()
        self.took.observe(took_s)
        for step, seconds in timings_s.items():
            self.step.labels(step).observe(seconds)
        if event.as_of is not None:
            lag_ms = event.as_of.lag_ms
            self.lag.set(lag_ms / 1000 if lag_ms is not None else float("nan"))

    def redis_failed(self, what: str) -> None:
        """Count a call that Redis did not answer, or refused."""
        self.redis.labels(what).inc()

    def note_withheld(self, withheld: Mapping[str, int]) -> None:
        """Count candidates that did not pass, by reason."""
        for reason, count in withheld.items():
            self.withheld.labels(reason).inc(count)


class Timings:
    """Seconds by step of one query; a step that is done twice adds up."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - began

    def in_ms(self) -> dict[str, float]:
        return {name: round(seconds * 1000, 3) for name, seconds in self.seconds.items()}
