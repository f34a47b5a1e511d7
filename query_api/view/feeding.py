"""Brings the keyword index up to the manifests: what the store says is dirty, in commits that cost little and come often."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from connectors.keyword.port import KeywordIndex
from connectors.keyword.surroundings import passages_of
from query_api.view.store import Dirty, ManifestStore

FEED_AT_ONCE: Final = 1_000
COMMIT_AFTER_DOCUMENTS: Final = 4_000
"""A first load is committed in pieces of this size: a crash costs one piece, and memory stays bounded."""
HURRIED_REST: Final = 1.0
"""A hurried commit comes no sooner after the last one than so many times what that took: under steady writes somebody always
waits, and commits are not to take all of a core."""

_log = structlog.get_logger(__name__)


class KeywordFeed:
    """Used by the view's thread only.

    Args:
        commit_s: how long a change may wait for its commit while the view is up to date.
    """

    def __init__(
        self, store: ManifestStore, index: KeywordIndex, commit_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._index = index
        self._commit_s = commit_s
        self._clock = clock
        self._last_commit_s = -commit_s
        self._fed: dict[str, Dirty] = {}
        self.commit_took_s = 0.0

    def begin(self) -> None:
        """Take up what an earlier life left undone."""
        if self._index.is_fresh:
            count = self._store.mark_all_dirty()
            if count:
                _log.info("filling the keyword index", documents=count)

    def feed(self) -> bool:
        """Hand some of what is dirty to the index. Returns whether there may be more.

        That something was fed does not tell of more: under steady writes every turn feeds, and each is to end like an idle one.
        """
        # What was fed stays dirty until it is committed, so look past it.
        most = len(self._fed) + FEED_AT_ONCE
        listed = self._store.dirty(most)
        dirty = [item for item in listed if self._fed.get(str(item.key)) != item]
        if not dirty:
            return False
        with self._store.snapshot() as snapshot:
            for item in dirty:
                document = snapshot.indexed(item.key)
                if document is None:
                    self._index.remove(item.key)
                else:
                    rows = [(span.row_id, document.passage(n)) for n, span in enumerate(document.chunks)]
                    self._index.replace(item.key, passages_of(document.entry.title, rows))
                self._fed[str(item.key)] = item
        return len(listed) == most

    def is_due(self, *, is_caught_up: bool, is_hurried: bool) -> bool:
        """Whether to commit now: a view that is catching up gains nothing from frequent commits."""
        if not self._fed:
            return False
        if len(self._fed) >= COMMIT_AFTER_DOCUMENTS:
            return True
        rest_s = min(self._commit_s, HURRIED_REST * self.commit_took_s) if is_hurried else self._commit_s
        return is_caught_up and self._clock() - self._last_commit_s >= rest_s

    @property
    def is_clean(self) -> bool:
        """Whether everything that was fed is committed."""
        return not self._fed

    def commit(self) -> None:
        """Make what was fed durable and visible. Raises: KeywordIndexDamaged."""
        started = self._clock()
        self._index.commit()
        self._store.settle(self._fed.values())
        self._fed.clear()
        self._last_commit_s = self._clock()
        self.commit_took_s = self._last_commit_s - started

    def clear(self) -> None:
        """The store was emptied: empty the index too."""
        self._fed.clear()
        self._index.clear()
        self._index.commit()
