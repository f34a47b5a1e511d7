"""Citations in a model's text: checked, whatever pieces it comes in."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from query_api.generation.citations import CitationFilter

PASSAGES = 3


def check(*pieces: str, passages: int = PASSAGES) -> tuple[str, list[int], int]:
    """The text, the numbers cited, and how many were invented."""
    checked = CitationFilter(passages)
    text = "".join([*(checked.feed(piece) for piece in pieces), checked.finish()])
    return text, checked.cited, checked.invented


@pytest.mark.parametrize(
    ("said", "text", "cited", "invented"),
    [
        ("It is free [1].", "It is free [1].", [1], 0),
        ("It is free[2].", "It is free[2].", [2], 0),
        ("Free [1, 3] now", "Free [1][3] now", [1, 3], 0),
        ("Free [1][3] now", "Free [1][3] now", [1, 3], 0),
        ("Free [1] [3] now", "Free [1][3] now", [1, 3], 0),
        ("Free [1-3].", "Free [1][2][3].", [1, 2, 3], 0),
        ("Free [3–2].", "Free [2][3].", [2, 3], 0),
        ("Free [2 and 1; 1].", "Free [2][1].", [2, 1], 0),
        ("Free [Passage 2].", "Free [2].", [2], 0),
        ("Free [9].", "Free.", [], 1),
        ("Free [9] now", "Free now", [], 1),
        ("Free [9]", "Free", [], 1),
        ("Free[9]now", "Freenow", [], 1),
        ("Free [9](maybe)", "Free (maybe)", [], 1),
        ("Free [0].", "Free.", [], 1),
        ("Free [2, 9].", "Free [2].", [2], 1),
        ("Free [9] [1].", "Free [1].", [1], 1),
        ("Free [9][8].", "Free.", [], 2),
        ("Free [2-9].", "Free [2][3].", [2, 3], 1),
        ("Free [1-999999].", "Free [1][2][3].", [1, 2, 3], 1),
        ("In 2024 [2024] it was", "In 2024 it was", [], 1),
        ("[9] It is", "It is", [], 1),
        ("  \n It is [1]. \n", "It is [1].", [1], 0),
        # Not citations, and left as they are.
        ("See [the page](https://x.example/[9]) [1]", "See [the page](https://x.example/) [1]", [1], 1),
        ("See [9](https://x.example) or [1](/local)", "See [9](https://x.example) or [1](/local)", [], 0),
        ("Use `a[9]` and ``b`[8]``", "Use `a[9]` and ``b`[8]``", [], 0),
        ("Use a ` and [9].", "Use a ` and.", [], 1),
        ("```py\nx = a[9]\n```\nso [9] [1]", "```py\nx = a[9]\n```\nso [1]", [1], 1),
        ("~~~\na[9]\n~~~\n[9]", "~~~\na[9]\n~~~", [], 1),
        ("```\na[9]", "```\na[9]", [], 0),
        ("[x] done, [sic], [a [1] b], [ ]", "[x] done, [sic], [a [1] b], [ ]", [1], 0),
        ("\\[9] and [1", "\\[9] and [1", [], 0),
        ("[" * 60 + "1]", "[" * 60 + "1]", [1], 0),
        ("", "", [], 0),
    ],
)
def test_what_is_kept_what_goes_and_what_counts(said: str, text: str, cited: list[int], invented: int) -> None:
    """In one piece, and one character at a time."""
    assert check(said) == (text, cited, invented)
    assert check(*said) == (text, cited, invented)


MARKS = [
    "[",
    "]",
    "1",
    "2",
    "9",
    "[1]",
    "[9]",
    "[1, 9]",
    "[2-7]",
    " ",
    "  ",
    "\n",
    "`",
    "```",
    "\n```\n",
    "~~~",
    "(",
    "(http://x)",
    ")",
]
MARKS += ["a", ".", ",", "\\", "[Passage 2]", "and", "-", " " * 90, "b" * 60, "`" * 250, "c d " * 70, "\t"]
said_texts = st.lists(st.sampled_from(MARKS), max_size=30).map("".join) | st.text(max_size=60)


@given(said_texts, st.lists(st.integers(0, 400), max_size=12))
@example("`a[9]`", [5])
@example("x" + " " * 100, [85])
@example("```\n" + "a" * 250 + "   ", [240])
def test_pieces_make_no_difference(said: str, cuts: list[int]) -> None:
    """Any split of a text gives the same text, citations and count."""
    places = sorted({min(cut, len(said)) for cut in cuts} | {0, len(said)})
    pieces = [said[begin:end] for begin, end in pairwise(places)]
    assert check(*pieces) == check(said)


@given(said_texts.map(lambda text: text.replace("`", "").replace("~", "").replace("(", "").replace("\\", "")))
def test_no_invented_citation_is_left(said: str) -> None:
    """Outside code and links every number that is left stands for a passage, and was counted as cited."""
    text, cited, _ = check(said)
    left = [int(number) for number in re.findall(r"\[(\d{1,6})\]", text)]
    assert set(left) <= {1, 2, 3}
    assert set(left) <= set(cited)


@given(st.text(alphabet="abc .,\n\t(é漢", max_size=80))
def test_text_without_marks_passes_as_it_is(said: str) -> None:
    """Nothing but white space at its ends goes."""
    assert check(said)[0] == said.strip()


def test_little_is_held_back() -> None:
    """A stream is a stream: only what can't be told yet waits."""
    checked = CitationFilter(PASSAGES)
    assert checked.feed("plain words ") == "plain words"
    assert checked.feed("and [") == " and"
    assert checked.feed("1") == ""
    assert checked.feed("]") == ""
    assert checked.feed(". ") == " [1]."
