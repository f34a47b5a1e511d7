"""Fenced code blocks of the documentation, for tests that run them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]

_BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class CodeBlock(NamedTuple):
    """One block: its language, the `name=value` words behind it, its text, and the line it starts at."""

    language: str
    words: dict[str, str]
    text: str
    line: int


def code_blocks(page: str) -> Iterator[CodeBlock]:
    """The blocks of a page under docs/, from top to bottom."""
    source = (ROOT / "docs" / page).read_text()
    for found in _BLOCK.finditer(source):
        words = dict(word.split("=", 1) for word in found[2].split())
        yield CodeBlock(found[1], words, found[3], source.count("\n", 0, found.start()) + 1)
