"""An encoder without a model: hashed words, for tests, tryouts and machines that can't have one (RAG_EMBEDDING__KIND=hashing).

Texts that share words are near each other; it knows nothing of meaning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log1p
from typing import Final

import numpy as np

from connectors.embedding.port import Matrix, TokenIds, Vector

ALGORITHM_VERSION: Final = 1
DEFAULT_DIMENSION: Final = 384
DEFAULT_MAX_TOKENS: Final = 254

STEM_CHARS: Final = 5
# A word's beginning counts less than the word: "transfers" is near "transfer", but nearer to itself.
STEM_WEIGHT: Final = 0.5

_WORD: Final = re.compile(r"\w+|[^\w\s]")


class HashingEmbedder:
    """Feature-hashed words and their beginnings, weighted by the logarithm of their number. See `Embedder` for the contract."""

    def __init__(self, dimension: int = DEFAULT_DIMENSION, max_tokens: int = DEFAULT_MAX_TOKENS) -> None:
        self.dimension: Final = dimension
        self.max_tokens: Final = max_tokens
        self.fingerprint: Final = f"hashing-{ALGORITHM_VERSION}:d{dimension}:t{max_tokens}"
        self.variant: Final = "hashing"
        self.has_joinable_ids: Final = False

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the words and punctuation marks of each text."""
        return [len(_WORD.findall(text)) for text in texts]

    def token_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        """Not for callers: words have no numbers here."""
        message = "hashed words have no ids; `has_joinable_ids` says so"
        raise AssertionError(message)

    def encode(self, texts: Sequence[str], known: Sequence[TokenIds | None] | None = None) -> Matrix:
        """Return one row a text."""
        matrix = np.zeros((len(texts), self.dimension), np.float32)
        for row, text in zip(matrix, texts, strict=True):
            self._add(row, text)
        return matrix

    def encode_query(self, text: str) -> Vector:
        """Return the vector of a question: the same as of a text."""
        vector: Vector = self.encode([text])[0]
        return vector

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Return one row a question."""
        return self.encode(texts)

    def close(self) -> None:
        """Nothing to free."""

    def _add(self, row: Vector, text: str) -> None:
        tokens = _WORD.findall(text.casefold())[: self.max_tokens]
        words = Counter(token for token in tokens if token[0].isalnum()) or Counter(tokens)
        for word, count in words.items():
            weight = log1p(count)
            for feature, share in ((word, 1.0), (f"{word[:STEM_CHARS]}*", STEM_WEIGHT)):
                place, sign = _place(feature, self.dimension)
                row[place] += sign * share * weight
        length = float(np.linalg.norm(row))
        if length == 0.0:
            # Nothing to hash, or all of it cancelled out: still a vector of length 1, always the same.
            row[0] = 1.0
        else:
            row /= length


@lru_cache(maxsize=65_536)
def _place(feature: str, dimension: int) -> tuple[int, float]:
    """Return where a feature counts and with which sign (signs let collisions cancel out rather than add up)."""
    number = int.from_bytes(blake2b(feature.encode(errors="surrogatepass"), digest_size=8).digest())
    return number % dimension, 1.0 if number >> 63 else -1.0
