"""Selective filters: exactly the rows that match, through any history, whatever the values; None where that is too many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from connectors.kafka import Record
from query_api.view.metadata import spans, value_keys
from query_api.view.store import ManifestStore, ViewIdentity
from schemas.acl import OPERATOR, PUBLIC, principals_of
from schemas.filters import Filters, matches
from schemas.index import DocKey
from tests.unit.query_api.view.writing import Writer, key_of

INDEX = "rag.index.g1"
NOW = 1_700_000_000_000
FILTERS: TypeAdapter[Any] = TypeAdapter(Filters)
NAMES = ("product", "year")
CALLERS = ((OPERATOR,), ("group:hr",), ())

texts = st.sampled_from(["", "a", "ab", "b", "é", "card", "cards", "x" * 398, "x" * 399 + "a", "x" * 399 + "b", "x" * 512, "1"])
numbers = st.sampled_from([-(2**53) + 1, -1, -0.5, -0.0, 0, 0.0, 1, 1.0, 1.5, 2, 2024, 1e300, -1e300, 5e-324])
scalars = st.one_of(st.booleans(), numbers, texts)
metadata = st.dictionaries(st.sampled_from(NAMES), st.one_of(scalars, st.lists(texts, max_size=3)), max_size=2)


@st.composite
def ranges(draw: st.DrawFn) -> dict[str, object]:
    values = draw(st.sampled_from([numbers, texts]))
    low, high = draw(st.sampled_from(["gte", "gt", None])), draw(st.sampled_from(["lte", "lt", None]))
    bounds = [name for name in (low, high) if name is not None] or ["gte"]
    return {name: draw(values) for name in bounds}


filters = st.dictionaries(
    st.sampled_from(NAMES),
    st.one_of(scalars, ranges(), st.builds(lambda values: {"in": values}, st.lists(scalars, min_size=1, max_size=3))),
    min_size=1,
    max_size=2,
).map(FILTERS.validate_python)

steps = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(["upsert", "upsert", "upsert", "access", "delete"]),
        st.sampled_from([PUBLIC, ("group:hr",)]),
        metadata,
    ),
    max_size=12,
)


@contextmanager
def opened() -> Iterator[ManifestStore]:
    with tempfile.TemporaryDirectory() as folder:
        store = ManifestStore(
            Path(folder), ViewIdentity("g1", "log", "floors"), index_topic=INDEX, floors_topic="rag.floors", missing={}
        ).open()
        yield store
        store.close()


def publish(store: ManifestStore, writer: Writer, offset: int, step: tuple[str, str, tuple[str, ...], Mapping[str, Any]]) -> int:
    name, kind, allow, found = step
    key, version = key_of(name), writer.offset + 1
    if kind == "upsert":
        pairs = writer.upsert(key, version, f"text of {name}\nand more", allow, found)
    elif kind == "access":
        pairs = writer.access(key, version, allow)
    else:
        pairs = writer.delete(key, version)
    store.apply([Record(INDEX, 0, offset + n, 0, k, v) for n, (k, v) in enumerate(pairs)])
    return offset + len(pairs)


@settings(max_examples=150)
@given(steps, st.lists(filters, min_size=1, max_size=4))
def test_selective_filters_list_what_brute_force_finds(history: list[Any], wanted: list[Mapping[str, Any]]) -> None:
    """After any history, for each caller: the rows whose document is readable and matches, no other, none missing."""
    writer, offset = Writer(0), 0
    with opened() as store:
        for step in history:
            offset = publish(store, writer, offset, step)
        with store.snapshot() as snapshot:
            documents = [document for key in list(snapshot.keys()) if (document := snapshot.document(key)) is not None]
            for names in CALLERS:
                caller = principals_of(names)
                for one in wanted:
                    expected = {
                        row: document.key
                        for document in documents
                        if snapshot.is_readable(document, caller, NOW) and matches(one, document.entry.metadata)
                        for row in document.rows
                    }
                    assert snapshot.readable_rows(caller, NOW, 100, (), one) == expected


@settings(max_examples=300)
@given(metadata, filters)
def test_keys_never_miss_a_match(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Wherever a filter holds for a document, one of the document's keys lies in one of the filter's spans."""
    if not matches(wanted, found):
        return
    keys = value_keys(found)
    for name, one in wanted.items():
        assert any(span.first <= key and key[: len(span.last)] <= span.last for span in spans(name, one) for key in keys)


def test_few_of_many_are_listed_many_are_not() -> None:
    """Two filters that hold for a third and a fifth of all give their overlap; one alone is too many to list."""
    writer, offset = Writer(0), 0
    with opened() as store:
        for number in range(90):
            about: dict[str, Any] = {"product": f"p{number % 3}", "year": 2000 + number % 5}
            pairs = writer.upsert(DocKey("docs", f"d{number}"), 1, f"text {number}", PUBLIC, about)
            store.apply([Record(INDEX, 0, offset + n, 0, k, v) for n, (k, v) in enumerate(pairs)])
            offset += len(pairs)
        with store.snapshot() as snapshot:
            everyone = principals_of(())
            assert snapshot.readable_rows(everyone, NOW, 6, (), FILTERS.validate_python({"product": "p0"})) is None
            both = snapshot.readable_rows(
                everyone, NOW, 6, (), FILTERS.validate_python({"product": "p0", "year": {"gte": 2003, "lt": 2004}})
            )
            assert both is not None
            assert {key.doc_id for key in both.values()} == {f"d{n}" for n in range(90) if n % 3 == 0 and n % 5 == 3}
