"""Lines as changes: both forms, packed or not, and every bad line with its number."""

from __future__ import annotations

import gzip
import io
import itertools
import lzma
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragstream.publishing import Change, Problem, PublishOptions, changes_from, jsonl
from ragstream.publishing.jsonl import RowReader
from schemas.documents import DocumentChange
from schemas.wire import to_ms

OPTIONS = PublishOptions(now_ms=lambda: 1_750_000_000_000)
UPSERT = {"op": "upsert", "doc_id": "a", "content": {"text": "hello"}}


def lines(rows: Iterable[object]) -> bytes:
    """One JSON value a line."""
    return b"".join(orjson.dumps(row) + b"\n" for row in rows)


def read(tmp_path: Path, raw: bytes, options: PublishOptions = OPTIONS, name: str = "rows.jsonl") -> list[Change]:
    """What a file of these bytes gives."""
    path = tmp_path / name
    path.write_bytes(raw)
    return list(changes_from(path, options))


def change_of(found: Change) -> DocumentChange:
    """It is a change."""
    assert isinstance(found, DocumentChange), found
    return found


@pytest.mark.parametrize(
    ("name", "pack"), [("rows.jsonl", bytes), ("rows.jsonl.gz", gzip.compress), ("rows.jsonl.xz", lzma.compress)]
)
def test_rows_come_through_packed_or_not(tmp_path: Path, name: str, pack: object) -> None:
    """By what the bytes begin with."""
    assert callable(pack)
    [found] = read(tmp_path, pack(lines([UPSERT])), name=name)
    assert change_of(found).doc_id == "a"


def test_standard_input_is_read_packed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """`xz -c rows.jsonl | ragstream publish -` works as without xz."""
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(lzma.compress(lines([UPSERT])))))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert [change_of(found).doc_id for found in changes_from(Path("-"), OPTIONS)] == ["a"]


def test_bad_lines_are_named_and_stop_no_other(tmp_path: Path) -> None:
    """Line numbers count from 1, empty lines included; no document text is shown."""
    raw = lines([UPSERT]) + b"\nnope\n" + lines([{**UPSERT, "acls": ["*"], "x": "secret words"}, [1], UPSERT])
    found = read(tmp_path, raw)
    problems = [one for one in found if isinstance(one, Problem)]
    assert [one.where.rpartition(":")[2] for one in problems] == ["3", "4", "5"]
    assert problems[0].reason == "not_json"
    assert not any("secret" in one.detail for one in problems)
    assert len(found) == 5


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
def test_a_packed_file_that_breaks_off_is_reported(tmp_path: Path, pack: object) -> None:
    """After what could be read."""
    assert callable(pack)
    found = read(tmp_path, pack(lines([UPSERT] * 2_000))[:-20], name="rows.jsonl.gz")
    assert isinstance(found[-1], Problem)
    assert found[-1].reason == "damaged"


def test_a_line_too_long_to_hold_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded, and the next line is read from its start."""
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 100)
    found = read(tmp_path, b'{"x": "' + b"y" * 1_000 + b'"}\n' + lines([UPSERT]))
    assert [type(one) for one in found] == [Problem, DocumentChange]


def test_options_fill_in_what_a_row_leaves_open(tmp_path: Path) -> None:
    """A row's own index, ACL and end stay; an access change or a delete gets none."""
    rows = [
        UPSERT,
        {**UPSERT, "acl": [], "index": "hr", "expires_at": None},
        {"op": "delete", "doc_id": "a"},
        {"op": "access", "doc_id": "a", "acl": ["user:ann"]},
    ]
    options = replace(OPTIONS, index="kb", acl=("*",), ttl_seconds=5)
    found = [change_of(one) for one in read(tmp_path, lines(rows), options)]
    assert [(c.index, c.acl, c.ttl_seconds) for c in found] == [
        ("kb", ("*",), 5),
        ("hr", (), None),
        ("kb", None, None),
        ("kb", ("user:ann",), None),
    ]
    assert found[1].carries_expiry


def test_deletes_are_published_once_for_each_document_that_is_named(tmp_path: Path) -> None:
    """Whatever the rows say of it."""
    rows = [UPSERT, {**UPSERT, "index": "hr"}, UPSERT, {"op": "delete", "doc_id": "b"}]
    found = [change_of(one) for one in read(tmp_path, lines(rows), replace(OPTIONS, delete=True))]
    assert [(c.op, c.index, c.doc_id) for c in found] == [("delete", "docs", "a"), ("delete", "hr", "a"), ("delete", "docs", "b")]


def history_row(path: str, second: int, op: str = "upsert") -> dict[str, object]:
    """An event of an exported history."""
    row: dict[str, object] = {"seq": 0, "commit": "c", "time": f"2020-01-01T00:00:{second:02}+08:00", "op": op, "path": path}
    return row | ({"content": "# Title"} if op == "upsert" else {})


def test_a_history_becomes_changes(tmp_path: Path) -> None:
    """Paths are names, contents Markdown, rights come from the options; deletes carry none."""
    rows = [history_row("en/a.md", 1), history_row("en/a.md", 2, "delete")]
    upsert, delete = (change_of(one) for one in read(tmp_path, lines(rows), replace(OPTIONS, acl=("*",))))
    assert (upsert.op, upsert.doc_id, upsert.acl) == ("upsert", "en/a.md", ("*",))
    assert upsert.content is not None
    assert upsert.content.media_type == "text/markdown"
    assert (delete.op, delete.acl, delete.content) == ("delete", None, None)


@given(events=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=40))
def test_a_history_s_order_is_its_times_order(events: list[tuple[str, int]]) -> None:
    """Times of a document rise strictly, never fall behind the event's own, and come out the same again."""

    def times() -> list[tuple[str, int]]:
        reader = RowReader(OPTIONS)
        rows = [lines([history_row(path, second)]) for path, second in events]
        found = [change_of(one) for row in rows for one in reader.read(row, "x")]
        return [(c.doc_id, to_ms(c.event_time)) for c in found if c.event_time is not None]

    first = times()
    assert first == times()
    for path in "abc":
        own = [ms for name, ms in first if name == path]
        assert all(a < b for a, b in itertools.pairwise(own))
    base = 1_577_808_000_000
    assert all(ms >= base + second * 1_000 for (_, ms), (_, second) in zip(first, events, strict=True))


@pytest.mark.parametrize("over", [{"time": "yesterday"}, {"op": "move"}, {"content": None}, {"path": 3}, {"path": ""}])
def test_a_bad_history_row_is_reported(over: dict[str, object]) -> None:
    """And leaves the document's times as they were."""
    [found] = RowReader(OPTIONS).read(lines([{**history_row("a", 1), **over}]), "x:1")
    assert isinstance(found, Problem)
