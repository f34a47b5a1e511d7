"""What the answer cache counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from query_api.cache.answers import Verdict


class CacheMetrics:
    """One per process; names start with `rag_query_cache_`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lookups = Counter("rag_query_cache_lookups", "Lookups by verdict.", ["verdict"], registry=registry)
        self.entries = Gauge("rag_query_cache_entries", "Remembered answers in this process.", registry=registry)
        self.joined = Counter("rag_query_cache_joined", "Answers that another caller's generation made.", registry=registry)
        self.threshold = Gauge("rag_query_cache_threshold", "Likeness that a hit needs now.", registry=registry)
        self.shadows = Counter("rag_query_cache_shadow", "Hits answered afresh and compared.", ["result"], registry=registry)
        self.error = Gauge("rag_query_cache_error_ratio", "Measured share of wrong hits, of the window.", registry=registry)
        self.error_low = Gauge("rag_query_cache_error_ratio_low", "Its lower 95 % bound.", registry=registry)
        self.error_high = Gauge("rag_query_cache_error_ratio_high", "Its upper 95 % bound.", registry=registry)
        self.barred = Counter("rag_query_cache_barred", "Answers kept out after a thumbs-down.", registry=registry)
        self.shared = Counter("rag_query_cache_shared", "Entries of the shared log.", ["what"], registry=registry)

    def looked_up(self, verdict: Verdict) -> None:
        self.lookups.labels(verdict.withheld or verdict.code).inc()
