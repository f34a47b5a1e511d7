"""What goes into one request, and how the way of a search is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.milvus.collection_requests import UPSERT_BYTES, UPSERT_ROWS, delete_batches, upsert_batches
from connectors.milvus.filters import between, one_of, readable
from connectors.milvus.port import Row
from connectors.milvus.ranking import rank
from connectors.milvus.routing import EXACT_ROWS, MAX_EF, MAX_REACHES, Reach, Reaches, falls_back, scores_exactly, search_width
from connectors.milvus.schema import wire_size


def make_row(number: int, doc_key: str = "docs/d", dimension: int = 4) -> Row:
    return Row(f"{number:032x}", np.zeros(dimension, dtype=np.float32), doc_key, ("*",), 0)


@given(st.lists(st.tuples(st.integers(0, 50), st.text(max_size=5)), max_size=200))
def test_batches_hold_each_id_once_and_the_last_row_wins(written: list[tuple[int, str]]) -> None:
    """What the batches write is what a dict would hold."""
    rows = [make_row(number, doc) for number, doc in written]
    batches = list(upsert_batches(rows))
    sent = [row for batch in batches for row in batch]
    assert {row.row_id: row.doc_key for row in sent} == {row.row_id: row.doc_key for row in rows}
    assert len(sent) == len({row.row_id for row in rows})
    assert all(batches)


@pytest.mark.parametrize("dimension", [4, 384, 4096])
def test_batches_fit_a_request(dimension: int) -> None:
    """Neither too many rows nor too many bytes; a row that is too large alone still goes."""
    for batch in upsert_batches(make_row(number, dimension=dimension) for number in range(2000)):
        assert len(batch) <= UPSERT_ROWS
        assert sum(map(wire_size, batch)) <= UPSERT_BYTES
    assert [len(batch) for batch in upsert_batches([make_row(1, dimension=UPSERT_BYTES)])] == [1]


def test_ids_to_delete_come_once() -> None:
    """Idempotent deletes need no repeats."""
    assert list(delete_batches(["a", "b", "a"])) == [["a", "b"]]
    assert list(delete_batches([])) == []
    assert [len(batch) for batch in delete_batches(map(str, range(2500)))] == [1000, 1000, 500]


def test_a_filter_asks_for_grantable_names_only() -> None:
    """What can't stand in an allow-list never reaches the expression."""
    filtered = readable(frozenset({"user:b", "user:a", 'user:"', "nobody", "*", "role:operator"}), 7)
    assert filtered == 'array_contains_any(allow, ["*", "user:a", "user:b"]) and (expires_at_ms == 0 or expires_at_ms > 7)'
    assert readable(frozenset({"nobody"}), 7) is None
    assert readable(None, 7) == "(expires_at_ms == 0 or expires_at_ms > 7)"
    assert readable(None, 0) == ""


def test_ids_are_quoted() -> None:
    """An id is a literal, whatever it holds."""
    assert one_of(["ab", 'c"d\\']) == 'row_id in ["ab", "c\\"d\\\\"]'
    assert between("a", "b") == 'row_id >= "a" and row_id < "b"'
    assert between("a", "") == 'row_id >= "a"'


@given(st.integers(0, 10**7), st.integers(0, 10**7), st.integers(1, 16_384), st.integers(1, 4096))
def test_a_search_is_as_wide_as_milvus_takes(readable_rows: int, total: int, limit: int, least: int) -> None:
    """At least the limit and the setting, and never boundless."""
    width = search_width(Reach(readable_rows, total), limit, least)
    assert max(limit, least) <= width <= max(limit, least, MAX_EF)


def test_the_smaller_the_share_the_wider_the_search() -> None:
    """Whoever reads everything pays nothing for it, whoever reads a tenth looks at many times the candidates."""
    assert search_width(Reach(100_000, 100_000), 5, 128) == 128
    assert search_width(Reach(50_000, 100_000), 5, 128) == 3 * 128
    assert search_width(Reach(10_000, 100_000), 5, 128) == 19 * 128


def test_few_rows_are_scored_exactly() -> None:
    """By number; where the index fell short, some more."""
    assert scores_exactly(Reach(EXACT_ROWS, 10**6), 10)
    assert not scores_exactly(Reach(EXACT_ROWS + 1, 10**6), 10)
    assert falls_back(Reach(2000, 10**6), 100, 99)
    assert not falls_back(Reach(2000, 10**6), 100, 100)
    assert not falls_back(Reach(10**5, 10**6), 100, 99)
    assert not falls_back(Reach(50, 60), 100, 50)


def test_counts_are_remembered_for_a_while() -> None:
    """Each caller's own, and not for ever, neither in time nor in number."""
    reaches = Reaches(ttl_s=5)
    reaches.put("c", None, 100.0, 7)
    reaches.put("c", frozenset({"*"}), 100.0, 3)
    assert (reaches.get("c", None, 105.0), reaches.get("c", frozenset({"*"}), 105.0), reaches.get("d", None, 105.0)) == (
        7,
        3,
        None,
    )
    assert reaches.get("c", None, 105.1) is None
    for number in range(MAX_REACHES):
        reaches.put(str(number), None, 106.0, number)
    assert reaches.get("c", frozenset({"*"}), 104.0) is None


def test_ranking_takes_the_best_and_breaks_ties_by_id() -> None:
    """A vector of length 0 is like nothing, and no division by it."""
    vectors = np.array([[1, 0], [0, 0], [2, 0], [0, 1]], dtype=np.float32)
    hits = rank(np.array([3, 0], dtype=np.float32), ["b", "z", "a", "c"], ["k"] * 4, vectors, 3)
    assert [(hit.row_id, hit.score) for hit in hits] == [("a", 1.0), ("b", 1.0), ("c", 0.0)]
    assert rank(np.array([1, 0], dtype=np.float32), [], [], np.empty((0, 2), dtype=np.float32), 3) == []
