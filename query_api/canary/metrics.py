"""What the canary exports."""

from __future__ import annotations

import math
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from query_api.canary.judging import Point

VISIBLE_BUCKETS_S: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)

End = Literal["visible", "dead_lettered", "not_acknowledged", "given_up"]
"""How a canary ended; given up: not visible within its lifetime."""


class CanaryMetrics:
    """One per process. Both lags are of the same moment, so that they compare."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.true_lag = Gauge(
            "rag_query_canary_true_lag_seconds",
            "Age of the oldest acknowledged canary that is not visible; NaN: the view can't be looked at.",
            registry=registry,
        )
        self.stated_lag = Gauge(
            "rag_query_canary_stated_lag_seconds", "Lag that the view stated at the same moment; NaN: unknown.", registry=registry
        )
        self.violations = Counter(
            "rag_query_canary_violations", "Canaries that the view stated to be reflected while they were not.", registry=registry
        )
        self.ends = Counter("rag_query_canaries", "Canaries, by how they ended.", ["end"], registry=registry)
        self.visible = Histogram(
            "rag_query_canary_visible_seconds",
            "From a canary's acknowledgement until the view showed it.",
            registry=registry,
            buckets=VISIBLE_BUCKETS_S,
        )
        self.true_lag.set(math.nan)
        self.stated_lag.set(math.nan)

    def looked(self, point: Point) -> None:
        """Both lags of one look."""
        self.true_lag.set(point.true_lag_s)
        self.stated_lag.set(math.nan if point.stated_lag_s is None else point.stated_lag_s)

    def blind(self) -> None:
        """The view could not be looked at."""
        self.true_lag.set(math.nan)
        self.stated_lag.set(math.nan)

    def ended(self, end: End) -> None:
        """Count one canary."""
        self.ends.labels(end).inc()
