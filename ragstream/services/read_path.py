"""The read path's parts, put together: what all queries of a process share, and a pipeline for each event loop that asks.

Kafka's worker and the HTTP interface run on loops of their own, so that one's end is not the other's. They share the view, the
stores, the encoder and the memory; generations in flight are shared by those of one loop.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry

from connectors.embedding import Embedder, MemoryCache
from connectors.kafka import KafkaLink, TopicFollower, partitions_of
from connectors.milvus import VectorStore
from connectors.redis import ExpiringStore, MemoryStore, RedisLink, RedisLog, RedisStore
from query_api.cache import AnswerCache, CacheMetrics, Shadows, SharedAnswers, ThresholdGuard
from query_api.feedback import AskedLog, FeedbackMetrics, FeedbackReader, Noting
from query_api.feedback.reader import Follower
from query_api.generation.factory import Generation, create_generation
from query_api.generation.metrics import ModelMetrics
from query_api.identity import Authenticator
from query_api.metrics import QueryMetrics
from query_api.pipeline import AnswerPipeline, PipelineParts
from query_api.recollection import Memory
from query_api.repeats import Repeats
from query_api.retrieval import Retriever
from query_api.routing import Router, load_router
from query_api.view import IndexView
from schemas.errors import Rejected
from schemas.settings import MIB, Settings

REPEATED_ANSWERS: Final = 2_000
"""Final events kept in process; with Redis its own memory is the limit."""
ROUTE_VECTORS_BYTES: Final = 16 * MIB
ENDS_TIMEOUT_S: Final = 5.0
JWT_DOTS: Final = 2


class Signatures:
    """Contract: `query_api.worker.Signatures`: who asks on Kafka, of a signed token in the message."""

    def __init__(self, identity: Authenticator) -> None:
        self._identity = identity

    async def principals(self, token: str) -> tuple[str, ...]:
        """As HTTP takes the same token; a key that was rotated in is waited for, briefly. Raises: Rejected, Retryable."""
        if token.count(".") != JWT_DOTS:
            reason = "invalid_credentials"
            raise Rejected(reason, "`token` must be a signed token (JWT); API keys are for HTTP only: a log keeps what was sent")
        found = await self._identity.identify(f"Bearer {token}")
        if not found.scopes.ask:
            reason = "scope_missing"
            raise Rejected(reason, "the token lacks the scope `ask`")
        return found.principals


@dataclass(frozen=True, slots=True)
class _Stores:
    """Where repeats and askers are kept: in Redis where one is named, else in this process."""

    repeats: ExpiringStore
    asked: ExpiringStore
    redis: RedisLink | None


class ReadPath:
    """Everything a query needs, made once a process. `start`, then `pipeline` for each loop; `close` when no query runs.

    Blocks while models are loaded into this process. Raises: Misconfigured.
    """

    def __init__(
        self,
        settings: Settings,
        link: KafkaLink,
        view: IndexView,
        vectors: VectorStore,
        embedder: Embedder,
        registry: CollectorRegistry,
    ) -> None:
        self._settings = settings
        self._link = link
        self._embedder = embedder
        self._stack = ExitStack()
        self.view = view
        self.metrics = QueryMetrics(registry)
        self.retriever = Retriever(settings, vectors, lambda: view.keyword, embedder)
        self._stack.callback(self.retriever.close)
        self.retriever.load()
        self._stores = self._open_stores()
        self.asked = AskedLog(self._stores.asked, settings.cache.ttl_s)
        self._cache_metrics = CacheMetrics(registry)
        self._memory = self._remember() if settings.cache.enabled else None
        self.generation = create_generation(settings.llm, ModelMetrics(registry))
        self._stack.callback(self.generation.close)
        feedback = FeedbackMetrics(registry)
        self._feedback = FeedbackReader(self._follow_feedback, self.asked, self._bar, feedback)
        self._noting = Noting(self.asked, feedback.not_noted.inc)
        self._stack.callback(self._noting.close)
        self.identity = Authenticator(settings.auth)
        self._routes: Router | None = None
        self._routes_lock = threading.Lock()

    def start(self) -> None:
        """Begin to read feedback and to fetch the token issuer's keys. Returns at once. Raises: Misconfigured."""
        self._feedback.start()
        self._stack.callback(self._feedback.stop)
        self.identity.start()
        self._stack.callback(self.identity.close)

    def close(self) -> None:
        """Never raises."""
        self._stack.close()

    def pipeline(self, generation: Generation | None = None) -> AnswerPipeline:
        """A pipeline for one event loop. Blocks the first time, while routes are embedded. Raises: Misconfigured.

        Args:
            generation: what writes, in place of what the settings ask for.
        """
        generation = generation or self.generation
        redis = self._stores.redis
        parts = PipelineParts(
            view=self.view,
            retriever=self.retriever,
            answerer=generation.answerer,
            memory=self._memory,
            repeats=Repeats(self._stores.repeats, self._settings.query.repeat_ttl_s),
            asked=self._noting,
            routes=self.routes(),
            conversations=generation.conversations,
            is_memory_away=lambda: redis is not None and redis.is_away,
        )
        return AnswerPipeline(self._settings, parts, self.metrics)

    def routes(self) -> Router:
        """Raises: Misconfigured."""
        with self._routes_lock:
            if self._routes is None:
                self._routes = load_router(self._settings, self._embedder, MemoryCache(ROUTE_VECTORS_BYTES))
            return self._routes

    # -- memory

    def _open_stores(self) -> _Stores:
        redis = self._settings.redis
        if redis.url is None:
            return _Stores(MemoryStore(REPEATED_ANSWERS), MemoryStore(), None)
        link = RedisLink(redis.url.get_secret_value(), redis.timeout_s, self.metrics.redis_failed)
        self._stack.callback(link.close)
        prefix = redis.key_prefix
        return _Stores(RedisStore(link, f"{prefix}repeats:"), RedisStore(link, f"{prefix}asked:"), link)

    def _remember(self) -> Memory:
        settings = self._settings.cache
        guard = ThresholdGuard(settings.min_similarity, settings.tolerated_error)
        metrics = self._cache_metrics
        metrics.threshold.set(guard.threshold)
        cache = AnswerCache(
            max_entries=settings.max_entries,
            ttl_s=settings.ttl_s,
            barred_ttl_s=settings.barred_ttl_s,
            threshold=lambda: guard.threshold,
        )
        metrics.entries.set_function(lambda: len(cache))
        if self._stores.redis is not None:
            self._share(cache, self._stores.redis, metrics)
        shadows = Shadows(settings.shadow_share, guard, metrics, self._embedder.encode_query, random.random)
        self._stack.callback(shadows.close)
        return Memory(cache, shadows, metrics.looked_up, metrics.joined.inc)

    def _share(self, cache: AnswerCache, link: RedisLink, metrics: CacheMetrics) -> None:
        """Entries and bars of all workers, through Redis."""
        # By generation: another one's entries fit no question of this one, and vectors of another length would keep out its own.
        settings, prefix = self._settings.cache, self._settings.redis.key_prefix
        entries = RedisLog(link, f"{prefix}answers:{self._settings.generation}", settings.max_entries, settings.ttl_s)
        bars = RedisLog(link, f"{prefix}bars", settings.max_entries, settings.barred_ttl_s)
        shared = SharedAnswers(cache, entries, bars, metrics)
        shared.start()
        self._stack.callback(shared.stop)

    # -- feedback

    def _bar(self, entry_id: str) -> None:
        if self._memory is not None:
            self._memory.cache.bar(entry_id)
            self._cache_metrics.barred.inc()

    def _follow_feedback(self, left_at: Mapping[int, int] | None) -> Follower:
        """Where it was left, at first from the end of now on: what was said before is in the shared bars. Raises: Retryable."""
        topic = self._settings.kafka.topics.feedback
        if left_at is not None:
            return TopicFollower(self._link, topic, left_at)
        partitions = partitions_of(self._link, topic)
        asker = TopicFollower(self._link, topic, dict.fromkeys(partitions, 0))
        try:
            ends = asker.ends(ENDS_TIMEOUT_S)
        finally:
            asker.close()
        return TopicFollower(self._link, topic, ends)
