"""The examples' vectors: computed once, remembered by the encoder's fingerprint, so that a restart embeds none of them."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

import structlog

from connectors.embedding.port import Embedder, EmbeddingCache, Vector
from query_api.routing.file import RoutesFile, read_routes
from query_api.routing.router import Router
from schemas.settings import Settings

_log = structlog.get_logger(__name__)


def load_router(settings: Settings, embedder: Embedder, cache: EmbeddingCache) -> Router:
    """The router of `settings`, ready. Blocks while new examples are embedded. Raises: Misconfigured."""
    routes = read_routes(settings.query.routes_file, {name: index.description for name, index in settings.indexes.items()})
    vectors = question_vectors(_texts(routes), embedder, cache)
    _log.info("routes are ready", routes=sorted(routes.in_use), texts=len(vectors))
    return Router(routes, vectors, tuple(settings.indexes), settings.query.min_route_score)


def question_vectors(texts: Iterable[str], embedder: Embedder, cache: EmbeddingCache) -> dict[str, Vector]:
    """Each text's vector as a question: from `cache`, which is of this embedder's fingerprint, else embedded and remembered."""
    digests = {text: _digest(text) for text in texts}
    cached = cache.get_many(list(digests.values()))
    missing = [text for text, digest in digests.items() if digest not in cached]
    fresh = dict(zip(missing, embedder.encode_queries(missing), strict=True)) if missing else {}
    cache.put_many({digests[text]: vector for text, vector in fresh.items()})
    return {text: fresh[text] if text in fresh else cached[digest] for text, digest in digests.items()}


def _texts(routes: RoutesFile) -> list[str]:
    return [*(text for spec in routes.in_use.values() for text in spec.texts), *routes.background]


def _digest(text: str) -> str:
    # Apart from chunks of the same text: a model may want questions with a prefix.
    return blake2b(f"question\x00{text}".encode(errors="surrogatepass"), digest_size=16).hexdigest()
