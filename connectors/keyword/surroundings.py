"""A document's passages, each with the words around it: what the keyword index is fed with. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from connectors.keyword.port import KeywordPassage

REACH: Final = 4
"""Passages before and after one whose words count for it too. It bounds what a passage of a long document costs, and what changes
with an edit. A document of up to five passages is whole to each of them."""


def passages_of(title: str, rows: Sequence[tuple[str, str]]) -> list[KeywordPassage]:
    """The passages of one document.

    Args:
        rows: row id and text of each, in the order of the document.
    """
    return [
        KeywordPassage(row_id, text, title, "\n".join(around for _, around in rows[max(0, n - REACH) : n + REACH + 1]))
        for n, (row_id, text) in enumerate(rows)
    ]
