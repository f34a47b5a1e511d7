"""Percentiles as the page shows them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and the highest. Raises: ValueError, when there are too few to tell."""
    if len(values) < 2:
        msg = f"{len(values)} values have no percentiles; ask for more samples"
        raise ValueError(msg)
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"count": len(values), "p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": max(values)}
