"""Who may read: principals, allow-lists and the one rule that matches them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

EVERYONE: Final = "*"
"""The principal that every caller has, also an anonymous one."""

OPERATOR: Final = "role:operator"
"""The operator's principal: reads everything, is in no allow-list and can't be claimed by one."""

AllowList = tuple[str, ...]
"""Sorted, without duplicates. Empty: nobody but the operator."""

Principals = frozenset[str]
"""What a caller is: `user:…`, `group:…`, and `role:operator` where the caller operates the system."""

OPERATOR_ONLY: AllowList = ()
PUBLIC: AllowList = (EVERYONE,)

MAX_ALLOW_LIST = 256
MAX_PRINCIPAL_LENGTH = 200
MAX_ACL_BYTES: Final = 16 * 1024
"""Of all names of a list together, in UTF-8: several lists of a document travel in one message."""
PRINCIPAL_PATTERN: Final = r"^(\*|(user|group):[^\s\x00-\x1f\"\\]{1,190})$"
"""`"` and `\\` are refused so that a principal can stand in a filter expression of any store as it is."""

_PRINCIPAL = re.compile(PRINCIPAL_PATTERN)


def allow_list(principals: Iterable[str]) -> AllowList:
    """The canonical form of an allow-list."""
    return tuple(sorted(set(principals)))


def common(a: AllowList, b: AllowList) -> AllowList:
    """A list that lets nobody read whom `a` or `b` keeps out. Who is on each by another name isn't on it: too few only narrow."""
    if (EVERYONE in a) == (EVERYONE in b):
        return allow_list(set(a) & set(b))
    return b if EVERYONE in a else a


def size_of(allow: Iterable[str]) -> int:
    """Bytes of the names, in UTF-8."""
    return sum(len(name.encode()) for name in allow)


def principals_of(names: Iterable[str]) -> Principals:
    """A caller's principals: what they were given, and `*`, which everyone has."""
    return frozenset((*names, EVERYONE))


def is_principal(name: str) -> bool:
    """Whether `name` may stand in an allow-list."""
    return _PRINCIPAL.fullmatch(name) is not None


def permits(allow: AllowList, principals: Principals) -> bool:
    """Whether a caller with `principals` is on the list. The operator always is."""
    return OPERATOR in principals or not principals.isdisjoint(allow)
