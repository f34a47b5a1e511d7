"""The words of a text that carry meaning, in a form in which inflections meet. Pure.

Made for comparing a question with passages, not for indexing (the keyword index has its own analysis). English function
words and endings are known; other languages work by their whole words.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

# Numbers keep their dots, so that version 2.3 is not version 2.4; CJK has no spaces and goes by characters.
_LETTER: Final = re.compile(r"[^\W\d_㐀-鿿぀-ヿ가-힯]")
_WORD: Final = re.compile(rf"\d+(?:[.,]\d+)*|[㐀-鿿぀-ヿ가-힯]|{_LETTER.pattern}+\d*")
_APOSTROPHE: Final = re.compile(r"(?<=\w)['’](?:s|t|re|ve|ll|d|m)\b", re.IGNORECASE)

_FUNCTION_WORDS: Final = (
    "a about after again all also am an and any anybody anyone anything are as ask at be because been before being "
    "between both but by can cannot could couldn did didn do does doesn doing don done else ever for from further "
    "get gets give given go goes got had has hasn have haven having he help her here hers him his how however i if "
    "in into is isn it its itself just know let like ll may maybe me might more most much must my need new no nor "
    "not now of off on once one only or other our out over own please same shall she should shouldn since so some "
    "somebody someone something such tell than that the their them then there these they thing things this those "
    "through to too under until up us use used using very via want was wasn way we well were weren what when where "
    "whether which while who whom whose why will with within without won would wouldn yet you your yours hi hello "
    "thanks thank "
)
STOP_WORDS: Final = frozenset(_FUNCTION_WORDS.split())

_ENDINGS: Final = (
    "izations", "ization", "ations", "ation", "ating", "ated", "ates", "ators", "ator", "ions", "ion", "ings", "ing", "ments",
    "ment", "ively", "ive", "ies", "ied", "ers", "ed", "es", "ate", "ly", "al", "er", "y", "e", "s",
)  # fmt: skip
_SHORTEST_STEM: Final = 3


def words(text: str) -> list[str]:
    """Every word of `text`, folded but not stemmed, in order."""
    return _WORD.findall(_folded(text))


def _folded(text: str) -> str:
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return _APOSTROPHE.sub("", folded) if "'" in folded or "’" in folded else folded


def terms(text: str) -> list[str]:
    """The stems of all words, in order, function words included."""
    return [stem(word) for word in words(text)]


def content_terms(text: str) -> list[str]:
    """The stems of the words that carry meaning, each once, in order. Of a text without any: all its stems."""
    all_words = words(text)
    meaning = [word for word in all_words if word not in STOP_WORDS and (len(word) > 1 or not word.isascii() or word.isdigit())]
    return list(dict.fromkeys(map(stem, meaning or all_words)))


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """A rough stem: `activate`, `activating` and `activation` become one. Words with digits are left alone."""
    if len(word) <= _SHORTEST_STEM or not word.isalpha() or not word.isascii():
        return word
    ending = next((e for e in _ENDINGS if word.endswith(e) and len(word) - len(e) >= _SHORTEST_STEM), "")
    base = word.removesuffix(ending)
    # stopp(ing) and stop, cancell(ed) and cancel, install(ed) and install: one letter is enough to know them by.
    return base[:-1] if len(base) > _SHORTEST_STEM and base[-1] == base[-2] else base


class Bearing:
    """Finds the terms of texts that bear on a question: its own, and those whose first `letters` are like theirs.

    Of those that begin alike as many are found as tell whether there are any; `of(text)` is otherwise what looking at all
    `terms(text)` would give, ten times faster: a stem is how its word begins, so that only the places are looked at where such
    beginnings stand.

    Args:
        wanted: the question's terms.
        letters: how many letters must agree; shorter terms must be the same.
    """

    def __init__(self, wanted: Iterable[str], letters: int) -> None:
        self._letters = letters
        self._wanted: dict[str, set[str]] = {}
        for term in wanted:
            self._wanted.setdefault(term[:letters], set()).add(term)

    def of(self, text: str) -> frozenset[str]:
        folded = _folded(text)
        found: set[str] = set()
        for beginning, wanted in self._wanted.items():
            missing = len(wanted)
            for term in _beginning_with(beginning, folded) if beginning in folded else ():
                if term not in found and term[: self._letters] == beginning:
                    found.add(term)
                    missing -= term in wanted
                    if not missing:
                        break
        return frozenset(found)


def _beginning_with(beginning: str, folded: str) -> Iterator[str]:
    """Terms of words that begin so; some of them have become shorter than that."""
    if beginning[0].isdecimal():  # where a number begins depends on all that stands before it
        yield from (word for word in _WORD.findall(folded) if word.startswith(beginning))
        return
    at = folded.find(beginning)
    while at >= 0:
        word = _WORD.match(folded, at)
        if word is None:
            return
        if not at or not _LETTER.match(folded, at - 1) or not _LETTER.match(beginning):
            yield stem(word.group())
        at = folded.find(beginning, word.end())


def rarity(query_terms: Iterable[str], texts: Sequence[frozenset[str]]) -> Mapping[str, float]:
    """How much each term tells, from its frequency among `texts`: inverse document frequency, always above 0."""
    count = len(texts)
    return {term: math.log(1.0 + (count + 1.0) / (sum(term in text for text in texts) + 0.5)) for term in query_terms}


def coverage(weights: Mapping[str, float], found: frozenset[str] | set[str]) -> float:
    """The share of the weighted terms that is among `found`, in [0, 1]."""
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in found) / total if total else 0.0
