"""Laws of floors: any order of what waits gives the same, and together they let nobody read whom one of them keeps out."""

from __future__ import annotations

from functools import reduce
from itertools import combinations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.view.access import hides, narrowed
from schemas.acl import MAX_ALLOW_LIST, OPERATOR_ONLY, PUBLIC, AllowList, allow_list, common, permits, principals_of
from schemas.floors import MAX_FLOOR_BYTES, MAX_WAITING, NO_FLOOR, AccessFloor, DeleteFloor, Floor, join_floors, standing
from schemas.index import SourcePosition
from schemas.join import DocumentState, effect_of, fold

NAMES = ["group:hr", "user:ann", "user:bob"]
CALLERS = [principals_of(names) for size in range(4) for names in combinations(NAMES, size)]

acls = st.lists(st.sampled_from([*NAMES, "*"]), max_size=3).map(allow_list)
positions = st.builds(SourcePosition, st.integers(0, 1), st.integers(0, 30))
one_list = st.builds(lambda *entry: Floor(access=(AccessFloor(*entry),)), st.integers(1, 14), acls, positions)
one_delete = st.builds(lambda *delete: Floor(DeleteFloor(*delete)), st.integers(1, 14), positions)
several = st.lists(one_list | one_list | one_list | one_delete, max_size=24)
floors = several.map(lambda parts: reduce(join_floors, parts, NO_FLOOR))
effects = st.builds(lambda version, allow: effect_of(version=version, allow=allow), st.integers(1, 14), acls) | st.builds(
    lambda version, allow: effect_of(version=version, digest=f"d{version}", allow=allow), st.integers(1, 14), st.none() | acls
)
states = st.lists(effects, max_size=5).map(fold)
progresses = st.dictionaries(st.integers(0, 1), st.integers(0, 31))


def readers(state: DocumentState, floor: Floor) -> set[int]:
    """Callers who may read what `state` shows under `floor`."""
    if hides(floor, state):
        return set()
    return {n for n, caller in enumerate(CALLERS) if all(permits(allow, caller) for allow in narrowed(floor, state, PUBLIC))}


@given(floors, floors, floors)
def test_the_order_does_not_matter(a: Floor, b: Floor, c: Floor) -> None:
    """Nor what is grouped, nor what comes twice; also where more wait than are kept apart."""
    assert join_floors(a, a) == a == join_floors(a, NO_FLOOR)
    assert join_floors(a, b) == join_floors(b, a)
    assert join_floors(join_floors(a, b), c) == join_floors(a, join_floors(b, c))


@given(several, states, progresses)
def test_joined_they_keep_out_whom_each_does(parts: list[Floor], state: DocumentState, progress: dict[int, int]) -> None:
    """However far somebody has come. Eight are told apart in a partition, and more are not."""
    joined = reduce(join_floors, parts, NO_FLOOR)
    allowed = readers(state, NO_FLOOR)
    for part in parts:
        # A delete that a newer one outdoes says what the newer one says as soon as that is in the manifest.
        if part.delete is None or part.delete == joined.delete:
            allowed &= readers(state, standing(part, progress))
    assert readers(state, standing(joined, progress)) <= allowed


@given(several)
def test_what_waits_is_bounded(parts: list[Floor]) -> None:
    """In each partition."""
    joined = reduce(join_floors, parts, NO_FLOOR)
    for partition in (0, 1):
        versions = [entry.version for entry in joined.access if entry.source.partition == partition]
        assert len(versions) <= MAX_WAITING and versions == sorted(set(versions))


def test_the_oldest_of_too_many_are_brought_together() -> None:
    """Into one that keeps out whom any of them does, for as long as any of them does."""
    lists = {1: ("group:hr", "user:ann"), 2: ("group:hr", "user:bob"), 3: PUBLIC} | dict.fromkeys(range(4, 11), PUBLIC)
    parts = [Floor(access=(AccessFloor(version, allow, SourcePosition(0, version)),)) for version, allow in lists.items()]
    joined = reduce(join_floors, parts)
    assert joined.access[0] == AccessFloor(3, ("group:hr",), SourcePosition(0, 3))
    assert [entry.version for entry in joined.access] == list(range(3, 11))


@pytest.mark.parametrize(
    ("a", "b", "both"),
    [
        (PUBLIC, ("user:ann",), ("user:ann",)),
        (("*", "user:ann"), ("user:ann", "user:bob"), ("user:ann", "user:bob")),
        (("*", "user:ann"), PUBLIC, PUBLIC),
        (("group:hr",), ("user:ann",), OPERATOR_ONLY),
        (("group:hr", "user:ann"), ("group:hr", "user:bob"), ("group:hr",)),
    ],
)
def test_one_list_for_two(a: AllowList, b: AllowList, both: AllowList) -> None:
    """Everyone is on an open one, by whatever name."""
    assert common(a, b) == common(b, a) == both


@pytest.mark.parametrize("partitions", [1, 2])
def test_long_lists_fit_into_a_message(partitions: int) -> None:
    """As one for a partition: it keeps out whom any of them does, until all are passed."""
    names = [f"user:{n:03d}{'x' * 56}" for n in range(MAX_ALLOW_LIST)]
    parts = [
        Floor(access=(AccessFloor(version, allow_list(names[version:]), SourcePosition(version % partitions, version)),))
        for version in range(8)
    ]
    back = Floor.from_bytes(reduce(join_floors, parts).to_bytes())
    assert len(reduce(join_floors, parts).to_bytes()) <= MAX_FLOOR_BYTES
    assert back.access == tuple(
        AccessFloor(version, allow_list(names[version:]), SourcePosition(version % partitions, version))
        for version in range(8 - partitions, 8)
    )


# -- as older releases wrote and read it: one list


@given(one_list)
def test_one_list_is_written_as_older_releases_write_it(floor: Floor) -> None:
    """And theirs is read."""
    (entry,) = floor.access
    wire = {"schema_version": 1, "delete": None, "access": [entry.version, entry.allow, entry.source]}
    assert orjson.loads(floor.to_bytes()) == orjson.loads(orjson.dumps(wire, default=tuple))
    assert Floor.from_bytes(orjson.dumps(wire, default=tuple)) == floor


@given(floors, states)
def test_older_readers_see_no_more(floor: Floor, state: DocumentState) -> None:
    """They take the one list that they know for all of them."""
    wire = orjson.loads(floor.to_bytes())
    wire.pop("waiting", None)
    older = Floor.from_bytes(orjson.dumps(wire))
    assert len(older.access) <= 1
    assert readers(state, older) <= readers(state, floor)
