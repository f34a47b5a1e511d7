"""Sentences of Markdown as a person would read them aloud: no headings, markers, link targets or code. Pure."""

from __future__ import annotations

import re
from typing import Final

_FENCE: Final = re.compile(r"^\s*(```|~~~)")
_HEADING: Final = re.compile(r"^\s{0,3}#{1,6}(\s|$)")
_UNDERLINE: Final = re.compile(r"^\s*(=+|-+|\*{3,}|_{3,})\s*$")
_ITEM: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)])\s+(?:\[[ xX]\]\s+)?")
_QUOTE: Final = re.compile(r"^\s*(?:>\s?)+")
_TABLE_RULE: Final = re.compile(r"^\s*\|?\s*:?-{2,}:?\s*(\|\s*:?-{2,}:?\s*)*\|?\s*$")
_LINK_TARGET: Final = re.compile(r"^\s{0,3}\[[^\]]+\]:\s+\S+")
_SILENT: Final = (_HEADING, _UNDERLINE, _TABLE_RULE, _LINK_TARGET)
"""Lines that end a paragraph and are not read out."""
_IMAGE: Final = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK: Final = re.compile(r"\[([^\]]+)\](?:\([^)]*\)|\[[^\]]*\])")
_TAG: Final = re.compile(r"</?[a-zA-Z][^<>]*>|<!--.*?-->", re.DOTALL)
_EMPHASIS: Final = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|~~)(?=\S)(.+?)(?<=\S)\1(?!\w)")
_CODE: Final = re.compile(r"`+([^`]+)`+")
_CODE_SPAN: Final = re.compile(r"(`+[^`]+`+)")
_SPACE: Final = re.compile(r"\s+")

_END: Final = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s+[\"'“‘(\[]*[^\Wa-z_])|[。！？]+")
_ABBREVIATION: Final = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|al|approx|fig|figs|no|nos|dr|mr|mrs|ms|prof|st|inc|ltd|co|corp|jr|sr|dept|vol|pp|sec|eq|ca)|\b[A-Z])\.$",
    re.IGNORECASE,
)
_SINGLE_LETTER: Final = re.compile(r"\b[a-z]\.$")


def sentences(markdown: str) -> list[str]:
    """The sentences of `markdown` in order, ready for display. Headings and code blocks are left out."""
    found: list[str] = []
    for block in _blocks(markdown):
        found += split(plain(block))
    return found


def plain(markdown: str) -> str:
    """Inline Markdown without its marks: links keep their text, images and tags go; what looks like a tag in code stays code."""
    # Most text has few marks: looking for one costs a hundredth of looking for what it may begin.
    text = _untagged(markdown) if "<" in markdown else markdown
    if "[" in text:
        text = _LINK.sub(r"\1", _IMAGE.sub(" ", text))
    if "*" in text or "_" in text or "~~" in text:
        text = _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", text))
    if "`" in text:
        text = _CODE.sub(lambda code: code[0] if "<" in code[1] else code[1], text)
    return _SPACE.sub(" ", text).strip()


def _untagged(markdown: str) -> str:
    parts = _CODE_SPAN.split(markdown)  # every second one is code
    return "".join(part if at % 2 else _TAG.sub(" ", part) for at, part in enumerate(parts))


def split(text: str) -> list[str]:
    """One line of plain text, cut after its sentences."""
    found: list[str] = []
    begin = 0
    for match in _END.finditer(text):
        sentence = text[begin : match.end()].strip()
        if _is_abbreviated(sentence):
            continue
        found.append(sentence)
        begin = match.end()
    rest = text[begin:].strip()
    return [sentence for sentence in [*found, rest] if any(char.isalnum() for char in sentence)]


def _is_abbreviated(sentence: str) -> bool:
    if not sentence.endswith("."):
        return False
    # "plan B." may end a sentence, "J. Smith" doesn't: a single letter only counts as an initial after a space or at the start.
    return bool(_ABBREVIATION.search(sentence)) and not _SINGLE_LETTER.search(sentence)


def _blocks(markdown: str) -> list[str]:
    """Paragraphs, list items and table rows, each on one line."""
    blocks: list[str] = []
    paragraph: list[str] = []

    def close() -> None:
        if paragraph:
            blocks.append(" ".join(paragraph))
            paragraph.clear()

    in_code = False
    for raw in markdown.splitlines():
        if _FENCE.match(raw):
            close()
            in_code = not in_code
            continue
        if in_code:
            continue
        line = _QUOTE.sub("", raw)
        if not line.strip() or any(pattern.match(line) for pattern in _SILENT):
            if _UNDERLINE.match(line) and line.strip()[0] in "=-":
                paragraph.clear()  # what stands above was a heading
            close()
        elif line.lstrip().startswith("|"):
            close()
            blocks.append(", ".join(cell.strip() for cell in line.strip().strip("|").split("|") if cell.strip()))
        elif _ITEM.match(line):
            close()
            paragraph.append(_ITEM.sub("", line).strip())
        else:
            paragraph.append(line.strip())
    close()
    return blocks
