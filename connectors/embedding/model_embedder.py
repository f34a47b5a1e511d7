"""An encoder made of a tokenizer and an engine: tokenise once, group by length, run, put back in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from connectors.embedding.batching import plan_batches
from connectors.embedding.engine import Engine, ModelParts
from connectors.embedding.port import Matrix, TokenIds, Vector

# Texts tokenised and sorted together: enough for even lengths, little enough to hold.
WINDOW_TEXTS: Final = 4096


class ModelEmbedder:
    """See `Embedder` for the contract."""

    def __init__(self, parts: ModelParts, engine: Engine, fingerprint: str, *, max_batch: int = 0) -> None:
        """Put the parts together. `max_batch` 0: as suits the engine."""
        self.fingerprint: Final = fingerprint
        self.variant: Final = engine.variant
        self.dimension: Final = parts.dimension
        self.max_tokens: Final = parts.tokens.max_tokens
        self.has_joinable_ids: Final = parts.tokens.are_joinable
        self._tokens = parts.tokens
        self._query_prefix = parts.query_prefix
        self._engine = engine
        self._max_batch = max_batch or engine.max_batch
        self._turn = threading.Lock()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._tokens.count(texts)

    def token_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        return self._tokens.bare_ids(texts)

    def encode(self, texts: Sequence[str], known: Sequence[TokenIds | None] | None = None) -> Matrix:
        matrix = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), WINDOW_TEXTS):
            window = slice(start, start + WINDOW_TEXTS)
            self._encode_into(matrix[window], self._ids(texts[window], known[window] if known is not None else ()))
        return matrix

    def encode_query(self, text: str) -> Vector:
        vector: Vector = self.encode_queries([text])[0]
        return vector

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), self.dimension), np.float32)
        ids = self._tokens.ids(texts, prefix=self._query_prefix)
        for batch in plan_batches([len(text) for text in ids], self._max_batch, self._engine.max_tokens_per_batch):
            matrix[batch] = self._engine.embed_query(self._tokens.pad([ids[position] for position in batch]))
        return matrix

    def close(self) -> None:
        self._engine.close()

    def _ids(self, texts: Sequence[str], known: Sequence[TokenIds | None]) -> list[Sequence[int]]:
        ids: list[Sequence[int] | None] = [None if bare is None else self._tokens.framed(bare) for bare in known]
        ids = ids or [None] * len(texts)
        rest = iter(self._tokens.ids([text for text, found in zip(texts, ids, strict=True) if found is None]))
        return [next(rest) if found is None else found for found in ids]

    def _encode_into(self, rows: Matrix, ids: Sequence[Sequence[int]]) -> None:
        plan = plan_batches([len(text) for text in ids], self._max_batch, self._engine.max_tokens_per_batch)
        batches = (self._tokens.pad([ids[position] for position in batch]) for batch in plan)
        with self._turn:
            results = self._engine.embed(batches)
        for batch, vectors in zip(plan, results, strict=True):
            rows[batch] = vectors
