"""The state of a document: a join-semilattice of versioned registers. Pure; no I/O, no clock of its own.

The fence of the write path, the views of the read path, the express lane's floors, the rebuild and the
tests' oracle all use this one join. Because `join` is associative, commutative and idempotent, any order, any
duplication and any crash converge to the same state: the fold of the events (Shapiro et al., "Conflict-free
Replicated Data Types", 2011).

Registers, each with the version of the event that set it:

- `deleted`: the highest delete version. Everything at or below it is gone (ties: delete wins).
- `content`: version and digest of the highest-version content that was *published* (parsed and indexed).
- `access`, `expiry`: what events said about who may read and until when. Not only the newest entry is kept but all back to
  the one in force at the content's version, because of dead letters: see `failed`.
- `failed`: the highest version of an upsert that became a dead letter. While it is above the content's version, the
  shown text is older than what its producer meant, so access and expiry entries above that text may only *narrow* it:
  v4 (secret, for hr), v5 redacts it and is a dead letter, v6 opens the document to all: v6 must not open v4's text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import reduce
from typing import Literal, NamedTuple

from schemas.acl import EVERYONE, OPERATOR_ONLY, AllowList, Principals, permits

MAX_ENTRIES = 32
"""Access or expiry entries kept per document. Only changes since the last content count, so few documents hold more than two.

With `MAX_ACL_BYTES` and `MAX_ENDS` this bounds what registers take: they must fit into one message, whatever comes.
"""
MAX_ENDS = 256
"""So many of the ends that access changes have set since the base are kept to the millisecond, the newest ones. Older ones are
brought forward onto a grid, and of equal ones the newest is kept: as many as the grid has lines, and no document outlives any."""
GRID_MS = 1 << 28
"""Three days. Whatever brings ends together must not depend on what else is known, or the order of arrival would tell."""
GRID_END_MS = 1 << 42
"""The year 2109, the grid's last line: 16,384 in all."""

NEVER: Literal[-1] = -1
"""The version of a register that nothing has set."""


class Content(NamedTuple):
    """The content register. `digest` covers everything an upsert replaces: text, title, metadata, index settings."""

    version: int
    digest: str


class AccessEntry(NamedTuple):
    """What one event said about who may read the document."""

    version: int
    allow: AllowList


class ExpiryEntry(NamedTuple):
    """What one event said about when the document ends. `at_ms` None means never.

    `extends` is True for upserts (only content extends a life) and False for access changes, which may only shorten it.
    """

    version: int
    at_ms: int | None
    extends: bool


class DocumentState(NamedTuple):
    """One element of the lattice. Equal documents have equal states: the form is canonical."""

    deleted: int = NEVER
    content: Content | None = None
    access: tuple[AccessEntry, ...] = ()
    expiry: tuple[ExpiryEntry, ...] = ()
    failed: int = NEVER

    @property
    def content_version(self) -> int:
        return self.content.version if self.content else NEVER

    @property
    def version(self) -> int:
        """The highest version that any register holds: what a producer would have to exceed to be sure of an effect."""
        newest_access = self.access[-1].version if self.access else NEVER
        newest_expiry = self.expiry[-1].version if self.expiry else NEVER
        return max(self.deleted, self.content_version, newest_access, newest_expiry, self.failed)

    @property
    def is_stale(self) -> bool:
        """True while the newest content is a dead letter and an older text is shown."""
        return self.content is not None and self.failed > self.content.version

    def allow_lists(self, missing: AllowList = OPERATOR_ONLY) -> tuple[AllowList, ...]:
        """The lists a reader must be on, all of them. `missing` stands in where no event carried an ACL."""
        if not self.is_stale:
            return (self.access[-1].allow,) if self.access else (missing,)
        if len(self.access) == MAX_ENTRIES:
            return (OPERATOR_ONLY,)  # the entry in force at the content may have been cut off: fail closed
        in_force = bool(self.access) and self.access[0].version <= self.content_version
        lists = [entry.allow for entry in self.access]
        return tuple(dict.fromkeys(lists if in_force else [missing, *lists]))

    def readable_by(self, principals: Principals, missing: AllowList = OPERATOR_ONLY) -> bool:
        return all(permits(allow, principals) for allow in self.allow_lists(missing))

    def is_public(self, missing: AllowList = OPERATOR_ONLY) -> bool:
        return all(EVERYONE in allow for allow in self.allow_lists(missing))

    def expires_at_ms(self) -> int | None:
        """When the shown content ends, None for never: the base that content set, shortened by whatever came after it."""
        if not self.expiry:
            return None
        if self._has_lost_its_base:
            return 0
        base: int | None = None
        ends: list[int] = []
        for entry in self.expiry:
            if entry.extends and entry.version <= self.content_version:
                base, ends = entry.at_ms, []
            elif entry.at_ms is not None:
                ends.append(entry.at_ms)
        return min([*ends, base] if base is not None else ends, default=None)

    @property
    def _has_lost_its_base(self) -> bool:
        """Whether the base may have been cut off, by as many failed upserts as are kept: fail closed."""
        lasting = [entry for entry in self.expiry if entry.extends]
        return self.content is not None and len(lasting) == MAX_ENTRIES and lasting[0].version > self.content.version

    def is_expired(self, now_ms: int) -> bool:
        ends = self.expires_at_ms()
        return ends is not None and ends <= now_ms

    def is_live(self, now_ms: int) -> bool:
        """Whether the document has content that may be shown (to those who may read it) at `now_ms`."""
        return self.content is not None and not self.is_expired(now_ms)


EMPTY = DocumentState()


def join(a: DocumentState, b: DocumentState) -> DocumentState:
    """The least state that holds all that `a` and `b` hold. Associative, commutative, idempotent."""
    if a is b or b == EMPTY:
        return a
    if a == EMPTY:
        return b
    deleted = max(a.deleted, b.deleted)
    content = _newer_content(a.content, b.content)
    if content is not None and content.version <= deleted:
        content = None
    content_version = content.version if content else NEVER
    failed = max(a.failed, b.failed)
    return DocumentState(
        deleted=deleted,
        content=content,
        access=_join_access(a.access, b.access, deleted, content_version),
        expiry=_join_expiry(a.expiry, b.expiry, deleted, content_version),
        failed=failed if failed > max(deleted, content_version) else NEVER,
    )


def fold(states: Iterable[DocumentState]) -> DocumentState:
    """Join of all `states`: the oracle that everything else is compared with."""
    return reduce(join, states, EMPTY)


def effect_of(
    *,
    version: int,
    deletes: bool = False,
    digest: str | None = None,
    allow: AllowList | None = None,
    carries_expiry: bool = False,
    expires_at_ms: int | None = None,
    failed: bool = False,
) -> DocumentState:
    """The smallest state that one event asserts; joining it is applying the event.

    Args:
        version: the event's version, >= 0.
        deletes: the event is a delete.
        digest: the content's digest; None for events without content.
        allow: the allow-list it carries, None if it carries none.
        carries_expiry: it says something about expiry (`expires_at_ms` None then means never).
        failed: the upsert became a dead letter: its content does not count, its access and expiry do.
    """
    if deletes:
        return DocumentState(deleted=version)
    is_upsert = digest is not None or failed
    return DocumentState(
        content=Content(version, digest) if digest is not None and not failed else None,
        access=(AccessEntry(version, allow),) if allow is not None else (),
        expiry=(ExpiryEntry(version, expires_at_ms, is_upsert),) if carries_expiry else (),
        failed=version if failed else NEVER,
    )


def without_content(state: DocumentState) -> DocumentState:
    """The registers of `state` but its content: what is known of a document before its text is published."""
    return state._replace(content=None)


def allow_list_digest(allow: AllowList) -> str:
    """A stable order among allow-lists of the same version, so that a tie has one winner everywhere."""
    return hashlib.sha256("\x00".join(allow).encode()).hexdigest()


def _newer_content(a: Content | None, b: Content | None) -> Content | None:
    if a is None or b is None:
        return a or b
    return max(a, b)


def _join_access(
    a: tuple[AccessEntry, ...], b: tuple[AccessEntry, ...], deleted: int, content_version: int
) -> tuple[AccessEntry, ...]:
    # What most events meet: at most one entry on each side, and a new one that is in force at once.
    if len(a) <= 1 and (a is b or not b or a == b) and (not a or a[0].version > deleted):
        return a
    if len(a) <= 1 and len(b) == 1 and (not a or a[0].version < b[0].version) and deleted < b[0].version <= content_version:
        return b
    by_version: dict[int, AccessEntry] = {}
    for entry in (*a, *b):
        if entry.version > deleted:
            rival = by_version.get(entry.version)
            if rival is None or allow_list_digest(entry.allow) > allow_list_digest(rival.allow):
                by_version[entry.version] = entry
    entries = sorted(by_version.values())
    in_force = max((i for i, entry in enumerate(entries) if entry.version <= content_version), default=0)
    return tuple(entries[in_force:][-MAX_ENTRIES:])


def _end(at_ms: int | None) -> int:
    return at_ms if at_ms is not None else 1 << 62


def _join_expiry(
    a: tuple[ExpiryEntry, ...], b: tuple[ExpiryEntry, ...], deleted: int, content_version: int
) -> tuple[ExpiryEntry, ...]:
    # What most events meet, as for access.
    if len(a) <= 1 and (a is b or not b or a == b) and (not a or a[0].version > deleted):
        return a
    if len(b) == 1 and (not a or a[-1].version < b[0].version) and b[0].extends and deleted < b[0].version <= content_version:
        return b
    ends: dict[tuple[int, bool], int | None] = {}
    for entry in (*a, *b):
        place = entry.version, entry.extends
        if entry.version > deleted and (place not in ends or _end(entry.at_ms) < _end(ends[place])):
            ends[place] = entry.at_ms
    entries = [ExpiryEntry(version, ends[version, extends], extends) for version, extends in sorted(ends)]
    lasting = [i for i, entry in enumerate(entries) if entry.extends]
    base = max((i for i in lasting if entries[i].version <= content_version), default=0)
    cut = lasting[-MAX_ENTRIES] if len(lasting) >= MAX_ENTRIES else 0
    return _with_bounded_ends(entries[max(base, cut) :])


def _with_bounded_ends(entries: list[ExpiryEntry]) -> tuple[ExpiryEntry, ...]:
    """`entries` with their ends on the grid where more than `MAX_ENDS` are newer, and none that a newer one makes idle.

    What becomes of an entry depends on newer ones alone. So it does not matter whether a base that comes late, and drops what is
    older, is known before or after: a rule such as "keep the earliest" would forget what counts after that base.
    """
    kept: list[ExpiryEntry] = []
    ends, earliest = 0, _end(None)
    for entry in reversed(entries):
        end = entry
        if not entry.extends:
            ends += 1
            if ends > MAX_ENDS:
                end = entry._replace(at_ms=_on_grid(entry.at_ms))
                if _end(end.at_ms) >= earliest:
                    continue
            earliest = min(earliest, _end(end.at_ms))
        kept.append(end)
    return tuple(reversed(kept))


def _on_grid(at_ms: int | None) -> int | None:
    return min(at_ms, GRID_END_MS) // GRID_MS * GRID_MS if at_ms is not None else None
