"""A reranker without a model: the share of the question's words that a text has. For tests and tryouts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"\w+")


class SharedWordsReranker:
    """Implements `Reranker`."""

    def load(self) -> None:
        """There is nothing to load."""

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        asked = set(_WORD.findall(question.casefold()))
        return [len(asked & set(_WORD.findall(text.casefold()))) / max(len(asked), 1) for text in texts]

    def close(self) -> None:
        """Nothing to free."""
