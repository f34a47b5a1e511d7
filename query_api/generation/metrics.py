"""What is counted of language models, for Prometheus; names start with `rag_query_model_`."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from connectors.llm import State
from schemas.queries import Usage

FIRST_TOKEN_BUCKETS_S: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
STATES: Final[dict[State, int]] = {"closed": 0, "half_open": 1, "open": 2}


class ModelMetrics:
    """One per process. Contract: `connectors.llm.Observer`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tokens = Counter(
            "rag_query_model_tokens",
            "Tokens of the model, by kind (prompt, completion) and what for (answer, condense).",
            ["kind", "purpose"],
            registry=registry,
        )
        self.cost = Counter("rag_query_model_cost", "By the prices in the settings.", ["currency", "purpose"], registry=registry)
        self.tries = Counter(
            "rag_query_model_tries", "Calls of an endpoint, by how they ended.", ["endpoint", "outcome"], registry=registry
        )
        self.retries = Counter("rag_query_model_retries", "Calls made again, by why.", ["endpoint", "reason"], registry=registry)
        self.first_token = Histogram(
            "rag_query_model_first_token_seconds",
            "From asking to the first piece of text, retries included.",
            ["endpoint"],
            registry=registry,
            buckets=FIRST_TOKEN_BUCKETS_S,
        )
        self.breakers = Gauge(
            "rag_query_model_breaker_state", "0 closed, 1 half-open, 2 open: left alone.", ["endpoint"], registry=registry
        )
        self.invented = Counter(
            "rag_query_model_invented_citations", "Citations that no passage stood behind, removed.", registry=registry
        )
        self.uncited = Counter("rag_query_model_uncited", "Answers without any citation.", registry=registry)
        self.cut = Counter("rag_query_model_cut", "Answers that ended because they were too long.", registry=registry)

    def tried(self, endpoint: str, outcome: str) -> None:
        self.tries.labels(endpoint, outcome).inc()

    def retried(self, endpoint: str, code: str) -> None:
        self.retries.labels(endpoint, code).inc()

    def began(self, endpoint: str, first_token_s: float) -> None:
        self.first_token.labels(endpoint).observe(first_token_s)

    def breaker(self, endpoint: str, state: State) -> None:
        self.breakers.labels(endpoint).set(STATES[state])

    def used(self, usage: Usage, purpose: str) -> None:
        """Count what a call took."""
        self.tokens.labels("prompt", purpose).inc(usage.prompt_tokens)
        self.tokens.labels("completion", purpose).inc(usage.completion_tokens)
        self.cost.labels(usage.currency, purpose).inc(usage.cost)
