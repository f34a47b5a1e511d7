"""Port of rerankers: how well each passage answers a question. Two adapters: `CrossEncoderReranker` and `SharedWordsReranker`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Reranker(Protocol):
    """Called by one thread at a time. `close` may be called once, when no call is running."""

    def load(self) -> None:
        """Have everything there that `scores` needs, so that no question waits for it. Blocks, a model for seconds.

        Raises: Misconfigured, when there is no such model, or it can't score.
        """
        ...

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """One score a text, in order, in [0, 1], higher is better: comparable within one call. Blocks.

        What is too long for the model is cut off. Loads what `load` was not called for.

        Raises: Misconfigured, when there is no such model; what the model raises.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...
