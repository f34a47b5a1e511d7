"""How long it takes to find out that a caller may read much."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from connectors.kafka import Record
from query_api.view import snapshot as snapshot_module
from query_api.view.store import ManifestStore, ViewIdentity
from schemas.acl import principals_of
from schemas.filters import Filters
from tests.unit.query_api.view.writing import Writer, key_of

INDEX = "rag.index.g1"
NOW = 1_700_000_000_000
FILTERS: TypeAdapter[Any] = TypeAdapter(Filters)
GROUPS = tuple(f"group:g{n}" for n in range(64))

Entries = Callable[..., Iterator[tuple[bytes, bytes]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ManifestStore]:
    """Sixty documents, each for all of the groups."""
    made = ManifestStore(
        tmp_path, ViewIdentity("g1", "log-1", "floors-1"), index_topic=INDEX, floors_topic="rag.floors", missing={}
    )
    made.open()
    writer = Writer(0)
    pairs = [pair for n in range(60) for pair in writer.upsert(key_of(f"d{n}"), 1, "x", GROUPS, {"product": "cards"})]
    made.apply([Record(INDEX, 0, n, 0, key, value) for n, (key, value) in enumerate(pairs)])
    yield made
    made.close()


@pytest.fixture
def visited(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every entry that a snapshot looks at from now on; a hundred are as many as may be."""
    keys: list[bytes] = []

    def noting(entries: Entries) -> Entries:
        def note(*given: Any) -> Iterator[tuple[bytes, bytes]]:
            for key, value in entries(*given):
                keys.append(key)
                yield key, value

        return note

    for name in ("with_prefix", "between"):
        monkeypatch.setattr(snapshot_module, name, noting(getattr(snapshot_module, name)))
    monkeypatch.setattr(snapshot_module, "SCAN_ENTRIES", 100)
    return keys


@pytest.mark.parametrize(
    ("filters", "most"),
    [({}, 21), ({"product": "cards"}, 101 + 60)],
    ids=["as many passages as may be", "as many entries as may be, and the filter's"],
)
def test_a_caller_of_many_groups_is_found_out_as_quickly_as_any(
    store: ManifestStore, visited: list[bytes], filters: dict[str, Any], most: int
) -> None:
    """Every document stands once in the list of each of their groups: entries take the time, so entries are bounded."""
    with store.snapshot() as snapshot:
        assert snapshot.readable_rows(principals_of(GROUPS), NOW, 10, (), FILTERS.validate_python(filters)) is None
    assert 0 < len(visited) <= most


def test_a_document_of_several_groups_counts_once(store: ManifestStore, visited: list[bytes]) -> None:
    """Its passages are as many for a caller of all of them as for one of one."""
    groups = ("group:few", "group:fewer", "group:fewest")
    pairs = Writer(0).upsert(key_of("few"), 1, "one\ntwo\nthree", groups)
    store.apply([Record(INDEX, 0, 1_000 + n, 0, key, value) for n, (key, value) in enumerate(pairs)])
    with store.snapshot() as snapshot:
        rows = snapshot.readable_rows(principals_of(groups), NOW, 3)
    assert rows is not None
    assert list(rows.values()) == [key_of("few")] * 3
    assert len(visited) == len(groups)
