"""Two small tokenizers of unlike kinds: one for which whitespace is free, one for which it isn't."""

import re
from collections.abc import Sequence

_WORD_OR_MARK = re.compile(r"\w+|[^\w\s]")


class WordTokenizer:
    """A token per word or mark; counts add up when texts are joined by whitespace."""

    def __init__(self) -> None:
        self.counted_chars = 0

    def count(self, texts: Sequence[str]) -> list[int]:
        self.counted_chars += sum(map(len, texts))
        return [len(_WORD_OR_MARK.findall(text)) for text in texts]


class CharacterTokenizer:
    """A token per three characters, whitespace included: joined texts count more than their parts."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [-(-len(text) // 3) for text in texts]
