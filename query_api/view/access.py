"""Manifest ∩ floor: what a floor still takes from a document, given how far the view has read. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from schemas.acl import AllowList
from schemas.floors import NO_FLOOR, Floor
from schemas.index import SourcePosition
from schemas.join import DocumentState


def standing(floor: Floor, progress: Mapping[int, int]) -> Floor:
    """The registers of `floor` that the view's own progress has not passed yet; passed ones are in the manifest."""
    if floor == NO_FLOOR:
        return floor
    return Floor(
        floor.delete if floor.delete and not _is_passed(floor.delete.source, progress) else None,
        floor.access if floor.access and not _is_passed(floor.access.source, progress) else None,
    )


def hides(floor: Floor, state: DocumentState) -> bool:
    """Whether a standing floor deletes what `state` shows: content at or below the delete's version."""
    return floor.delete is not None and state.content_version <= floor.delete.version


def narrowed(floor: Floor, state: DocumentState, missing: AllowList) -> tuple[AllowList, ...]:
    """The lists that a reader must be on, all of them: the document's own and a standing floor's.

    A floor never widens. It may be opener than the manifest because it speaks of a text that is still to come.
    """
    lists = state.allow_lists(missing)
    if floor.access is None or floor.access.allow in lists:
        return lists
    return (*lists, floor.access.allow)


def _is_passed(source: SourcePosition, progress: Mapping[int, int]) -> bool:
    return progress.get(source.partition, 0) > source.offset
