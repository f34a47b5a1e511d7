"""Where lines are cut: as a pattern would say it, in time in proportion to the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.chunking.chunker import Chunker
from flows.chunking.splitting import lines
from tests.unit.flows.chunking.tokenizers_for_tests import WordTokenizer

SAID_SHORTER = re.compile(r"([^\S\r\n]*)(\S[^\r\n]*)")
"""A line with its indentation; takes the square of the blanks in a line."""
BLANKS = 1_000_000


@given(st.text(alphabet="ab \t\r\n\x0b\x1c\x85\xa0\u2028.", max_size=60))
def test_lines_are_what_stands_between_newlines_without_its_margins(text: str) -> None:
    """All kinds of blanks, of which only CR and LF end a line."""
    expected = [(found.start(2), found.start(2) + len(found[2].rstrip())) for found in SAID_SHORTER.finditer(text)]
    assert [(piece.start, piece.end) for piece in lines(text)] == expected


@pytest.mark.parametrize("blank", [" ", "\t", "\xa0"])
@pytest.mark.parametrize("text", ["```\n{}\n```", "a\n{}b", "word {} word"])
def test_a_line_of_blanks_holds_nobody_up(blank: str, text: str) -> None:
    """A megabyte of them; with the pattern above this test would run for hours."""
    whole = text.format(blank * BLANKS)
    chunks = Chunker(WordTokenizer()).chunk(whole, "text/markdown")
    assert "".join("".join(chunk.text.split()) for chunk in chunks) == "".join(whole.split())
