"""The structural blocks of a document: headings, paragraphs, list items, code, tables, front matter, as spans.

Only finds blocks and says how strongly each is set apart from the one before it; neither counts tokens nor builds
chunks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

# How strongly a block is set apart from the one before it: the weaker the break, the sooner two small neighbours
# share a chunk.
BREAK_AFTER_HEADING = 0  # a heading alone says nothing: it belongs to what follows
BREAK_CONTINUED = 1  # the rest of a list item, and what a line that ends in a colon announces
BREAK_ITEM = 2
BREAK_PARAGRAPH = 3
BREAK_RULE = 4
BREAK_FRONT_MATTER = 5
BREAK_HEADING_6 = 6
BREAK_HEADING_1 = 11

_LEAVES = frozenset({"paragraph_open", "heading_open", "fence", "code_block", "html_block", "table_open", "hr"})
_CONTAINERS = frozenset({"list_item", "blockquote"})
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n.*?^(?:---|\.\.\.)[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_NEWLINE = re.compile(r"\r\n?|\n")  # exactly what markdown-it counts as the end of a line
_BLANK_LINES = re.compile(r"(?:\r\n?|\n)[^\S\r\n]*(?:\r\n?|\n)\s*")


class Block(NamedTuple):
    """A span of the text without surrounding whitespace, and how strongly it is set apart from the one before."""

    start: int
    end: int
    break_before: int
    is_heading: bool = False


def markdown_blocks(text: str) -> list[Block]:
    """Return the leaf blocks of a Markdown text, in order; together they hold all that is not whitespace."""
    front = _FRONT_MATTER.match(text)
    body = front.end() if front else 0
    return list(_blocks(text, _with_gaps(_markdown_spans(text, body), len(text))))


def plain_blocks(text: str) -> list[Block]:
    """Return the paragraphs of a plain text: what blank lines set apart."""
    return list(_blocks(text, _paragraph_spans(text)))


def _blocks(text: str, spans: Iterable[Block]) -> Iterator[Block]:
    """Strip each span, drop the empty ones, and weaken the breaks that follow a heading or a colon."""
    announced = after_heading = False
    for start, end, given_strength, is_heading in spans:
        piece = text[start:end]
        body = piece.strip()
        if not body:
            continue
        strength = given_strength
        if after_heading and not is_heading:
            strength = BREAK_AFTER_HEADING
        elif announced and strength <= BREAK_PARAGRAPH:
            strength = BREAK_CONTINUED
        first = start + len(piece) - len(piece.lstrip())
        yield Block(first, first + len(body), strength, is_heading)
        after_heading, announced = is_heading, body.endswith(":")


def _with_gaps(spans: Iterable[Block], length: int) -> Iterator[Block]:
    """Fill in what makes no token of its own: link definitions, empty list items, nesting too deep to follow."""
    done = 0
    for span in spans:
        if span.start < done:  # spans must not overlap, whatever a container's line map says
            continue
        yield Block(done, span.start, BREAK_PARAGRAPH)
        yield span
        done = span.end
    yield Block(done, length, BREAK_PARAGRAPH)


def _paragraph_spans(text: str) -> Iterator[Block]:
    done = 0
    for gap in _BLANK_LINES.finditer(text):
        yield Block(done, gap.start(), BREAK_PARAGRAPH)
        done = gap.end()
    yield Block(done, len(text), BREAK_PARAGRAPH)


def _markdown_spans(text: str, body: int) -> Iterator[Block]:
    if body:
        yield Block(0, body, BREAK_FRONT_MATTER)
    lines = [body, *(newline.end() for newline in _NEWLINE.finditer(text, body)), len(text)]
    last = len(lines) - 1
    is_first = bool(body)
    for first, after, strength, is_heading in _leaves(_MARKDOWN.parse(text[body:])):
        yield Block(lines[min(first, last)], lines[min(after, last)], BREAK_FRONT_MATTER if is_first else strength, is_heading)
        is_first = False


def _leaves(tokens: list[Token]) -> Iterator[tuple[int, int, int, bool]]:
    """Yield (first line, line after the last, break before, is it a heading) of each block that holds text itself."""
    depth = 0
    opens_item = False
    for token in tokens:
        name = token.type.removesuffix("_open").removesuffix("_close")
        if name in _CONTAINERS:
            depth += token.nesting
            opens_item = token.type == "list_item_open"
        elif token.type in _LEAVES and token.map is not None:
            is_heading = token.type == "heading_open" and depth == 0
            yield token.map[0], token.map[1], _break_before(token, depth, opens_item=opens_item), is_heading
            opens_item = False


def _break_before(token: Token, depth: int, *, opens_item: bool) -> int:
    if depth:
        return BREAK_ITEM if opens_item and depth == 1 else BREAK_CONTINUED
    if token.type == "heading_open":
        return BREAK_HEADING_1 + 1 - int(token.tag[1:])
    return BREAK_RULE if token.type == "hr" else BREAK_PARAGRAPH


def _block_parser() -> MarkdownIt:
    """A CommonMark parser that stops after the blocks: inline markup moves no boundary and takes half the time."""
    parser = MarkdownIt("commonmark").enable("table")
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


_MARKDOWN = _block_parser()
