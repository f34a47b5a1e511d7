"""Files as changes: names, media types, times that stay, and what is passed over or reported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.parsing.formats import FORMATS
from ragstream.publishing import Change, Problem, PublishOptions, changes_from
from ragstream.publishing.files import MEDIA_TYPES
from schemas.documents import DocumentChange, InlineBytes, InlineText
from schemas.errors import Rejected
from schemas.wire import parse, to_ms

NOW = 1_750_000_000_000
OPTIONS = PublishOptions(now_ms=lambda: NOW)


def write(path: Path, data: bytes = b"text", mtime_ms: int = NOW - 1_000) -> Path:
    """A file that was written at a moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(mtime_ms * 1_000_000, mtime_ms * 1_000_000))
    return path


def only(changes: Iterator[Change]) -> DocumentChange:
    """The one change there is."""
    [change] = changes
    assert isinstance(change, DocumentChange)
    return change


def problem(changes: Iterator[Change]) -> Problem:
    """The one problem there is."""
    [found] = changes
    assert isinstance(found, Problem)
    return found


def test_a_folder_gives_its_files_by_path_and_leaves_out_what_is_hidden(tmp_path: Path) -> None:
    """Names are relative, with slashes, in order; hidden files and folders are not looked at."""
    for name in ("b.md", "a/z.txt", ".hidden.md", ".git/c.md", "a/picture.PNG", "a/UPPER.MD"):
        write(tmp_path / name)
    changes = list(changes_from(tmp_path, OPTIONS))
    assert [c.doc_id for c in changes if isinstance(c, DocumentChange)] == ["b.md", "a/UPPER.MD", "a/z.txt"]
    [skipped] = [c for c in changes if isinstance(c, Problem)]
    assert (skipped.is_skip, skipped.reason) == (True, "unknown_format")


def test_the_same_files_are_the_same_events(tmp_path: Path) -> None:
    """What is published twice is byte for byte the same, whatever the time."""
    write(tmp_path / "a.md", b"# A")
    write(tmp_path / "b.pdf", b"%PDF")
    later = replace(OPTIONS, now_ms=lambda: NOW + 86_400_000)
    first, second = ([c.to_bytes() for c in changes_from(tmp_path, o) if isinstance(c, DocumentChange)] for o in (OPTIONS, later))
    assert len(first) == 2
    assert first == second


@given(data=st.binary(max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_of_a_binary_file_arrive_unchanged(tmp_path: Path, data: bytes) -> None:
    """Through JSON and back."""
    change = only(changes_from(write(tmp_path / "a.pdf", data), OPTIONS))
    again = parse(DocumentChange, change.to_bytes()).content
    assert isinstance(again, InlineBytes)
    assert again.base64 == data


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=100).filter(lambda t: not t.startswith("\ufeff")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_text_of_a_text_file_arrives_unchanged(tmp_path: Path, text: str) -> None:
    """Through JSON and back, line ends too."""
    change = only(changes_from(write(tmp_path / "a.md", text.encode()), OPTIONS))
    again = parse(DocumentChange, change.to_bytes()).content
    assert isinstance(again, InlineText)
    assert (again.text, again.media_type) == (text, "text/markdown")


@given(mtime_ms=st.integers(0, NOW + 10**9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_event_time_is_when_the_file_was_written_and_never_in_the_future(tmp_path: Path, mtime_ms: int) -> None:
    """To the millisecond, from which versions are made."""
    change = only(changes_from(write(tmp_path / "a.md", mtime_ms=mtime_ms), OPTIONS))
    assert change.event_time is not None
    assert to_ms(change.event_time) == min(mtime_ms, NOW)


def test_options_are_fields_of_the_change(tmp_path: Path) -> None:
    """Index, rights, end, name and the present moment."""
    options = replace(OPTIONS, index="hr", acl=("group:hr",), ttl_seconds=60, doc_id="x/y", at_present=True)
    change = only(changes_from(write(tmp_path / "a.md"), options))
    assert (change.index, change.acl, change.ttl_seconds, change.doc_id) == ("hr", ("group:hr",), 60, "x/y")
    assert change.event_time is not None
    assert to_ms(change.event_time) == NOW


def test_nothing_is_said_of_rights_unless_asked(tmp_path: Path) -> None:
    """A missing ACL changes none, an empty one is for the operator alone."""
    path = write(tmp_path / "a.md")
    assert "acl" not in only(changes_from(path, OPTIONS)).model_fields_set
    assert only(changes_from(path, replace(OPTIONS, acl=()))).acl == ()


def test_deletes_name_the_same_documents_at_the_present_moment(tmp_path: Path) -> None:
    """So they come after whatever the files were published with."""
    write(tmp_path / "a/b.md")
    change = only(changes_from(tmp_path, replace(OPTIONS, delete=True)))
    assert (change.op, change.doc_id, change.content) == ("delete", "a/b.md", None)
    assert change.event_time is not None
    assert to_ms(change.event_time) == NOW


def test_a_file_that_is_gone_can_be_deleted_by_name(tmp_path: Path) -> None:
    """Its name is all that is needed."""
    change = only(changes_from(tmp_path / "gone.md", replace(OPTIONS, delete=True, doc_id="a/gone.md")))
    assert (change.op, change.doc_id) == ("delete", "a/gone.md")


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    """With the path in the message."""
    with pytest.raises(Rejected, match="no-such"):
        changes_from(tmp_path / "no-such", OPTIONS)


@pytest.mark.parametrize(
    ("name", "data", "over", "reason"),
    [
        pytest.param("a.md", b"\xff\xfe", {}, "not_utf8", id="not-utf8"),
        pytest.param("a.pdf", b"x" * 11, {"max_bytes": 10}, "message_too_large", id="too-large"),
        pytest.param("a.md", b"x", {"ttl_seconds": 1}, "already_expired", id="already-expired"),
        pytest.param("a.png", b"x", {}, "unknown_format", id="unknown-format"),
        pytest.param("a\x07.md", b"x", {}, "invalid", id="bad-name"),
    ],
)
def test_a_file_that_can_t_be_published_is_reported(
    tmp_path: Path, name: str, data: bytes, over: dict[str, int], reason: str
) -> None:
    """Named by itself, an unknown format too is no skip."""
    found = problem(changes_from(write(tmp_path / name, data), PublishOptions(now_ms=lambda: NOW, **over)))  # type: ignore[arg-type]
    assert (found.reason, found.is_skip) == (reason, False)


def test_every_media_type_is_one_that_is_parsed() -> None:
    """Nothing is published that ingest would refuse."""
    assert set(MEDIA_TYPES.values()) <= FORMATS.keys()
