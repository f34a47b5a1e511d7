"""Where a text too large for one chunk may be cut: between lines, then sentences, words, and last within a word.

Every place is found from the text around it, so that it is found again after an edit elsewhere. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_LINE = re.compile(r"[^\r\n]+")
_SENTENCE_END = re.compile("(?<=[.!?])[\"')\\]]*\\s+|(?<=[\u3002\uff01\uff1f\uff1b])\\s*")  # Chinese ones need no space
_WORD = re.compile(r"\S+")

# How strongly a piece is set apart from the one before: see blocks.py; these never meet those of blocks.
_BREAK_WORD = 1
_BREAK_CLAUSE = 2
_BREAK_SENTENCE = 3
_BREAK_INNER_LINE = 4  # indented
_BREAK_LINE = 5
_BREAK_BLANK_LINE = 6  # joined last, as a heading's among blocks
_INDENT_OF_INNER_LINE = 2

_MEAN_RUN_BITS = 0xF  # a cut in every 16th place, on average
_MIN_RUN = 8
_MAX_RUN = 64  # a run of characters below 100, where BERT's tokenizer takes a word for unknown


class Piece(NamedTuple):
    """A span, relative to the text that was cut, and how strongly it is set apart from the one before it."""

    start: int
    end: int
    break_before: int


Cutter = Callable[[str], Iterator[Piece]]


def lines(text: str) -> Iterator[Piece]:
    """Cut at the ends of lines; blank lines set apart more strongly, indented lines less."""
    done = 0
    for match in _LINE.finditer(text):
        line = match[0]
        body = line.strip()
        if not body:
            continue
        indent = len(line) - len(line.lstrip())
        if text.count("\n", done, match.start()) > 1:
            strength = _BREAK_BLANK_LINE
        else:
            strength = _BREAK_INNER_LINE if indent >= _INDENT_OF_INNER_LINE else _BREAK_LINE
        yield Piece(match.start() + indent, match.start() + indent + len(body), strength)
        done = match.end()


def sentences(text: str) -> Iterator[Piece]:
    """Cut after full stops, question and exclamation marks."""
    start = 0
    for gap in _SENTENCE_END.finditer(text):
        yield from _stripped(text, start, gap.end(), _BREAK_SENTENCE)
        start = gap.end()
    yield from _stripped(text, start, len(text), _BREAK_SENTENCE)


def words(text: str) -> Iterator[Piece]:
    """Cut between words, sooner after a comma."""
    after_clause = False
    for match in _WORD.finditer(text):
        yield Piece(match.start(), match.end(), _BREAK_CLAUSE if after_clause else _BREAK_WORD)
        after_clause = match.group()[-1] in ",;:|"


def characters(text: str) -> Iterator[Piece]:
    """Cut after a character that, with the one before, falls in one of 16 classes: edits elsewhere don't move that."""
    start = 0
    before = 0
    for i, char in enumerate(text):
        code = ord(char)
        length = i + 1 - start
        if (length >= _MIN_RUN and not (before * 31 + code * 17 >> 2) & _MEAN_RUN_BITS) or length >= _MAX_RUN:
            yield from _stripped(text, start, i + 1, _BREAK_WORD)
            start = i + 1
        before = code
    yield from _stripped(text, start, len(text), _BREAK_WORD)


def _stripped(text: str, start: int, end: int, strength: int) -> Iterator[Piece]:
    piece = text[start:end]
    body = piece.strip()
    if body:
        first = start + len(piece) - len(piece.lstrip())
        yield Piece(first, first + len(body), strength)


CUTTERS: tuple[Cutter, ...] = (lines, sentences, words, characters)
