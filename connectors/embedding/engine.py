"""What runs a model on padded batches, and the gate that every engine passes before it is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple, Protocol

import numpy as np

from connectors.embedding.port import MIN_COSINE, Matrix
from connectors.embedding.tokens import PaddedBatch, Tokens

PROBES: Final = (
    "How do I block my card?",
    "Transfers to other banks arrive within one working day; those made after 17:00 count as made on the next one.",
    "| fee | EUR |\n|---|---|\n| replacement card | 4.50 |",
    "def connect(uri: str, timeout_s: float = 2.0) -> Client: ...",
    "Die Überweisung kostet nichts. 取消您的卡。",
)
"""Texts of several kinds that each engine encodes at the start."""


class Unfaithful(Exception):
    """An engine's vectors are too far from fp32's, or it can't run the model at all."""


class ModelParts(NamedTuple):
    """What is needed of a model besides the engine.

    Attributes:
        tokens: its tokenizer.
        dimension: length of its vectors.
        query_prefix: what it wants in front of a question.
    """

    tokens: Tokens
    dimension: int
    query_prefix: str


class Engine(Protocol):
    """Runs the model. Rows come out as float32 of length 1, in the order in which they went in.

    Attributes:
        variant: backend, device and precision, for logs.
        max_batch: texts in a batch, at most.
        max_tokens_per_batch: from here on larger batches gain nothing.
    """

    variant: str
    max_batch: int
    max_tokens_per_batch: int

    def embed(self, batches: Iterable[PaddedBatch]) -> list[Matrix]:
        """Return each batch's vectors. Called by one thread at a time."""
        ...

    def embed_query(self, batch: PaddedBatch) -> Matrix:
        """Return one batch's vectors, beside a running `embed`. Called by any thread."""
        ...

    def close(self) -> None:
        """Free the model."""
        ...


def probe(engine: Engine, tokens: Tokens) -> Matrix:
    """Return the probes' vectors, taken both ways that the engine offers."""
    batch = tokens.pad(tokens.ids(PROBES))
    return np.concatenate([*engine.embed([batch]), engine.embed_query(batch)])


def check_fidelity(got: Matrix, reference: Matrix, variant: str) -> float:
    """Return the mean cosine to the reference.

    Raises:
        Unfaithful: it is below `MIN_COSINE` (or not a number).
    """
    cosine = float(np.mean(np.sum(got * reference, axis=1)))
    if not cosine >= MIN_COSINE:
        message = f"{variant}: mean cosine to fp32 is {cosine:.5f}, must be at least {MIN_COSINE}"
        raise Unfaithful(message)
    return cosine
