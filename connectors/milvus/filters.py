"""Milvus filter expressions: who may read, what has expired, which rows. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from connectors.milvus.port import NEVER
from schemas.acl import is_principal

EVERY_ROW = 'row_id >= ""'


def readable(principals: Collection[str] | None, now_ms: int) -> str | None:
    """What such a caller may read at `now_ms`; None when that is nothing, empty when it is everything."""
    if principals is None and now_ms <= NEVER:
        return ""
    unexpired = f"(expires_at_ms == {NEVER} or expires_at_ms > {int(now_ms)})"
    if principals is None:
        return unexpired
    # What can't stand in an allow-list matches nothing, and what can holds no character that needs escaping.
    names = sorted(name for name in set(principals) if is_principal(name))
    if not names:
        return None
    return f"array_contains_any(allow, [{_literals(names)}]) and {unexpired}"


def one_of(row_ids: Iterable[str]) -> str:
    return f"row_id in [{_literals(row_ids)}]"


def between(first: str, end: str) -> str:
    """Ids from `first` on, before `end`; an empty `end` is no end."""
    return f"row_id >= {_literal(first)} and row_id < {_literal(end)}" if end else f"row_id >= {_literal(first)}"


def _literals(values: Iterable[str]) -> str:
    return ", ".join(map(_literal, values))


def _literal(value: str) -> str:
    # Milvus reads JSON's escapes of quote and backslash, but neither \uXXXX pairs nor, in Lite, control characters.
    return json.dumps(value, ensure_ascii=False)
