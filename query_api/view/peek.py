"""Looks into a view that another process is writing: read-only, from its files, without a part in its life."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import lmdb

from query_api.view.snapshot import DocumentCache, ViewSnapshot
from query_api.view.store import MAP_BYTES
from query_api.view.tables import Tables
from schemas.acl import AllowList
from schemas.errors import Retryable

CACHE_BYTES: Final = 4 * 1024 * 1024


@contextmanager
def peek(root: Path, generation: str, missing: Mapping[str, AllowList]) -> Iterator[ViewSnapshot]:
    """A snapshot of the first view under `root` that a running process keeps. Hold it briefly: its writer's file grows meanwhile.

    Raises: Retryable, when no process keeps a view there, or it has only just begun one.
    """
    folder = _held(root)
    if folder is None:
        msg = f"no query worker keeps a view in {root} at the moment: wait until it has started"
        raise Retryable(msg)
    try:
        env = lmdb.open(str(folder), readonly=True, create=False, map_size=MAP_BYTES, max_dbs=Tables.count())
        tables = Tables.open(env)
    except lmdb.Error as exc:
        msg = f"the view in {folder} can't be read yet ({exc}): wait until the query worker has started"
        raise Retryable(msg) from exc
    try:
        with ViewSnapshot(env.begin(), tables, missing, DocumentCache(CACHE_BYTES), generation) as snapshot:
            yield snapshot
    finally:
        env.close()


def _held(root: Path) -> Path | None:
    for claim in sorted(root.glob("*/claim.lock"), key=lambda path: (len(path.parent.name), path.parent.name)):
        manifests = claim.parent / "manifests"
        if (manifests / "data.mdb").exists() and _is_locked(claim):
            return manifests
    return None


def _is_locked(claim: Path) -> bool:
    with claim.open("rb") as file:
        try:
            # Shared, and for an instant: a worker that claims folders at this very moment takes the next one.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
