"""How text becomes terms: the same for passages and questions, on disk and in memory.

English stems and stop words, accents folded; Chinese and Japanese characters are terms of their own, because nothing
else separates their words. Changing anything here, or what the fields hold, needs a new ANALYSIS name: indexes of another
analysis are refilled.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Final

from tantivy import Filter, TextAnalyzer, TextAnalyzerBuilder, Tokenizer

ANALYSIS: Final = "simple-cjk-fold-stop-stem-en/2"

# Han, Hiragana and Katakana, by their blocks.
_UNSPACED: Final = re.compile(
    "[\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
MAX_TERM_BYTES: Final = 128

# The title stands in the passage's text too. Measured on SciFact's whole abstracts, NDCG@10: text alone 0.686; with the title's
# own field at 0.2 0.693, at 0.3 0.698, at 0.5 0.688; stems are worth 0.022 of it.
TITLE_BOOST: Final = 0.3

# A passage lacks the words that stand elsewhere in its document, so the text around it, its own words included, is a field too.
# Any boost from 0.3 to 1.0 ranks better on seven judged sets out of nine, and on two as well within their error
# (docs/retrieval.md); half, so that the right passage among its neighbours is still told by its own words.
CONTEXT_BOOST: Final = 0.5

MAX_QUERY_TERMS: Final = 64
"""A longer question is searched by its rarest terms: those decide the ranking, and time stays bounded."""


@cache
def analyzer() -> TextAnalyzer:
    """The analyzer itself. It keeps no state between texts."""
    builder = TextAnalyzerBuilder(Tokenizer.simple())
    for step in (
        Filter.remove_long(MAX_TERM_BYTES),
        Filter.lowercase(),
        Filter.ascii_fold(),
        Filter.stopword("english"),
        Filter.stemmer("english"),
    ):
        builder = builder.filter(step)
    return builder.build()


def encodable(text: str) -> str:
    """`text`, with `?` for what can't be encoded (unpaired surrogates)."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def prepared(text: str) -> str:
    """`text` as the analyzer takes it: composed, and with spaces where its script has none. Costs nothing for ASCII."""
    if text.isascii():
        return text
    return _UNSPACED.sub(r" \g<0> ", unicodedata.normalize("NFKC", encodable(text)))


def terms_of(text: str) -> list[str]:
    """The terms of `text`, in order, repetitions included."""
    return analyzer().analyze(prepared(text))


def query_terms(query: str, documents_with: Callable[[str], int]) -> list[str]:
    """The different terms of a question, the rarest ones where there are too many. Terms that nothing holds are left out."""
    frequencies = {term: documents_with(term) for term in dict.fromkeys(terms_of(query))}
    known = [term for term, frequency in frequencies.items() if frequency > 0]
    if len(known) <= MAX_QUERY_TERMS:
        return known
    return sorted(known, key=lambda term: frequencies[term])[:MAX_QUERY_TERMS]


def indexed_text(title: str, text: str) -> str:
    """What the text field of a passage holds."""
    return prepared(f"{title}\n{text}" if title else text)
