"""Ports of the encoder and of the cache of its vectors: what callers may rely on, whichever model or store is behind."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[np.float32]
"""One vector, of length 1."""

Matrix: TypeAlias = NDArray[np.float32]
"""Vectors as rows."""

TokenIds: TypeAlias = "array[int]"
"""A text's tokens, without special ones and whole."""

MIN_COSINE: Final = 0.999
"""Mean cosine to fp32 from which a backend and precision counts as the same encoder."""


class Embedder(Protocol):
    """Turns texts into vectors of length 1. Safe to use from several threads at once.

    `encode` is for many texts: calls of several threads take turns. `encode_query` and `encode_queries` don't stand in that line:
    they are worked on beside a running `encode`.

    Errors: after a successful start nothing is expected to fail but the machine (out of memory), which is raised untouched.
    `close` may be called once, by whoever created the embedder, when no call is running; skipping it leaks nothing but memory.

    Attributes:
        fingerprint: names the vector space: the model with a hash of its weights and configuration, the fidelity class, the
            dimension and the window. Vectors of different fingerprints must never be mixed. Device, backend and precision are
            NOT part of it as long as the mean cosine to fp32 is at least `MIN_COSINE`, which is checked at every start:
            such encoders are one family, so a GPU may embed what a laptop queries. Anything coarser is another fidelity
            class and so another fingerprint.
        variant: what does the work, for logs: backend, device and precision.
        dimension: length of a vector.
        max_tokens: tokens of a text that are used, special tokens and the model's own prompt not counted. More is cut off.
        has_joinable_ids: texts that are joined by blanks have the ids of their parts, joined, so that who knows the parts'
            needn't have the whole tokenised again. `token_ids` may be called only then.
    """

    @property
    def fingerprint(self) -> str: ...

    @property
    def variant(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int: ...

    @property
    def has_joinable_ids(self) -> bool: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, without special ones and before anything is cut off. Doesn't wait for `encode`."""
        ...

    def token_ids(self, texts: Sequence[str]) -> Sequence[TokenIds]:
        """Return the tokens that `count_tokens` counts. Doesn't wait for `encode`."""
        ...

    def encode(self, texts: Sequence[str], known: Sequence[TokenIds | None] | None = None) -> Matrix:
        """Return one row a text, in order, float32. Blocks until all are done. Company changes a vector by rounding only.

        Args:
            texts: to encode.
            known: of each text what `token_ids` gives for it, or None: the vectors are the same, the tokenizer's work is saved.
        """
        ...

    def encode_query(self, text: str) -> Vector:
        """Return the vector of a question. Blocks, but doesn't wait for a running `encode`."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        """Return one row a question, in order. As `encode_query`; company changes a vector by rounding only."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class EmbeddingCache(Protocol):
    """Vectors by chunk digest, for one fingerprint. It may forget anything at any time; it never returns a wrong vector.

    Safe to use from several threads. It doesn't raise: a cache that can't read or write says so in the log and misses.
    """

    def get_many(self, digests: Sequence[str]) -> dict[str, Vector]:
        """Return what is known of them; the rest is missing. Vectors have length 1; cosine to what was put: > 0.99999."""
        ...

    def put_many(self, vectors: Mapping[str, Vector]) -> None:
        """Remember vectors by digest. Putting one again is harmless."""
        ...

    def close(self) -> None:
        """Give the store back. Nothing is lost by not calling it."""
        ...
