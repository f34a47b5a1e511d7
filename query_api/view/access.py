"""Manifest ∩ floor: what a standing floor still takes from a document. Pure."""

from __future__ import annotations

from schemas.acl import AllowList
from schemas.floors import Floor
from schemas.join import DocumentState, effect_of, join


def hides(floor: Floor, state: DocumentState) -> bool:
    """Whether a standing floor deletes what `state` shows: content at or below the delete's version."""
    return floor.delete is not None and state.content_version <= floor.delete.version


def narrowed(floor: Floor, state: DocumentState, missing: AllowList) -> tuple[AllowList, ...]:
    """The lists that a reader must be on, all of them: the document's own and a standing floor's.

    A floor never widens. It may be opener than the manifest because it speaks of a text that is still to come.
    """
    lists = list(state.allow_lists(missing))
    if floor.delete is not None and not hides(floor, state):
        # A text from after the delete that says nothing of access is still read under a list from before it.
        lists += join(state, effect_of(version=floor.delete.version, deletes=True)).allow_lists(missing)
    lists += (entry.allow for entry in floor.access if not _is_outdone(entry.version, state))
    return tuple(dict.fromkeys(lists))


def _is_outdone(version: int, state: DocumentState) -> bool:
    """Whether a list of `version` can't come into force any more: what is shown has a newer one, or was deleted since.

    Newer than the text alone doesn't do: that list may be a grant, and one in between count after a dead letter.
    """
    if version <= state.deleted:
        return True
    return bool(state.access) and version < state.access[0].version <= state.content_version
