"""Manifest ∩ floor: a floor only narrows, and counts until the view's own progress has passed it."""

from query_api.view.access import hides, narrowed
from schemas.acl import PUBLIC, permits, principals_of
from schemas.floors import NO_FLOOR, AccessFloor, DeleteFloor, Floor, join_floors, standing
from schemas.index import SourcePosition
from schemas.join import effect_of

HR = ("group:hr",)
AT = SourcePosition(0, 10)
ANN = principals_of(["user:ann"])
HR_CALLER = principals_of(["group:hr"])


def readable(floor: Floor, version: int, allow: tuple[str, ...], caller: frozenset[str]) -> bool:
    """Whether `caller` may read a document at `version` with `allow` under `floor`."""
    state = effect_of(version=version, digest="d", allow=allow)
    return not hides(floor, state) and all(permits(one, caller) for one in narrowed(floor, state, ()))


def test_a_floor_never_widens() -> None:
    """v4 is secret for hr, v5 redacts it and is queued, v6 opens it to all: v6's floor must not open v4's text."""
    opened = Floor(access=(AccessFloor(6, PUBLIC, AT),))
    assert not readable(opened, 4, HR, ANN)
    assert readable(opened, 4, HR, HR_CALLER)


def test_a_floor_narrows_at_once() -> None:
    """A revocation that the manifest doesn't know yet holds."""
    revoked = Floor(access=(AccessFloor(6, HR, AT),))
    assert not readable(revoked, 5, PUBLIC, ANN)
    assert readable(revoked, 5, PUBLIC, HR_CALLER)


def test_floors_join_and_do_not_overwrite() -> None:
    """Delete v9 is queued, access v10 raises another floor: the deleted text stays hidden."""
    joined = join_floors(Floor(delete=DeleteFloor(9, AT)), Floor(access=(AccessFloor(10, PUBLIC, SourcePosition(0, 11)),)))
    assert not readable(joined, 8, PUBLIC, ANN)
    assert readable(joined, 10, PUBLIC, ANN), "content above the delete lives"


def test_a_grant_does_not_lift_the_revocation_beside_which_it_waits() -> None:
    """v6 takes it from all but hr, v7 opens a new text to all."""
    revoked = Floor(access=(AccessFloor(6, HR, AT),))
    both = join_floors(revoked, Floor(access=(AccessFloor(7, PUBLIC, SourcePosition(0, 11)),)))
    assert not readable(both, 5, PUBLIC, ANN) and readable(both, 5, PUBLIC, HR_CALLER)
    assert readable(both, 7, PUBLIC, ANN), "the new text is there: what came before it is outdone"
    assert readable(standing(both, {0: 11}), 5, PUBLIC, ANN), "v6 was fenced: what the manifest says holds"


def test_a_register_counts_until_progress_has_passed_it() -> None:
    """Each register by its own position: what was passed is in the manifest, what was not still narrows."""
    floor = Floor(DeleteFloor(9, AT), (AccessFloor(12, HR, SourcePosition(0, 20)),))
    assert standing(floor, {}) == floor
    assert standing(floor, {0: 10}) == floor, "progress 10 does not reflect offset 10"
    assert standing(floor, {0: 11}) == Floor(access=floor.access)
    assert standing(floor, {1: 99}) == floor, "another partition's progress tells nothing"
    assert standing(floor, {0: 21}) == NO_FLOOR
