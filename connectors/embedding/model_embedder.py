"""An encoder made of a tokenizer and an engine: tokenise once, group by length, run, put back in order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

import numpy as np

from connectors.embedding.batching import plan_batches
from connectors.embedding.engine import Engine, ModelParts
from connectors.embedding.port import Matrix, Vector

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
        self._tokens = parts.tokens
        self._query_prefix = parts.query_prefix
        self._engine = engine
        self._max_batch = max_batch or engine.max_batch
        self._turn = threading.Lock()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._tokens.count(texts)

    def encode(self, texts: Sequence[str]) -> Matrix:
        matrix = np.empty((len(texts), self.dimension), np.float32)
        for start in range(0, len(texts), WINDOW_TEXTS):
            window = texts[start : start + WINDOW_TEXTS]
            self._encode_into(matrix[start : start + len(window)], window)
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

    def _encode_into(self, rows: Matrix, texts: Sequence[str]) -> None:
        ids = self._tokens.ids(texts)
        plan = plan_batches([len(text) for text in ids], self._max_batch, self._engine.max_tokens_per_batch)
        batches = (self._tokens.pad([ids[position] for position in batch]) for batch in plan)
        with self._turn:
            results = self._engine.embed(batches)
        for batch, vectors in zip(plan, results, strict=True):
            rows[batch] = vectors
