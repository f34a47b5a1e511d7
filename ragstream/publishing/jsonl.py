"""Lines of JSON to changes. A line is a `DocumentChange`, or an event of an exported history.

History form: `{"seq", "commit", "time", "op", "path", "content"}`, oldest first: the path is the doc_id, the content Markdown,
and times are made to rise with every event of a document, so that their order is the file's.
"""

from __future__ import annotations

import gzip
import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Protocol

import orjson
from pydantic import ValidationError

from ragstream.publishing.files import delete, given
from ragstream.publishing.options import Change, Problem, PublishOptions
from schemas.documents import DocumentChange
from schemas.errors import Rejected
from schemas.settings import MIB
from schemas.wire import describe, from_ms, parse, to_ms

STDIN: Final = "-"
SUFFIXES: Final = (".jsonl", ".ndjson", ".gz", ".xz")
MAX_LINE_BYTES: Final = 64 * MIB

_GZIP_MAGIC: Final = b"\x1f\x8b"
_XZ_MAGIC: Final = b"\xfd7zXZ\x00"


class Readable(Protocol):
    """A source of lines."""

    def readline(self, size: int = -1, /) -> bytes: ...


def line_changes(path: Path, options: PublishOptions) -> Iterator[Change]:
    """The changes of a JSONL file, compressed or not; `-` is standard input. What is no change is a problem with its line."""
    name = "stdin" if str(path) == STDIN else str(path)
    reader = RowReader(options)
    number = 0
    try:
        with _opened(path) as file:
            for number, line in enumerate(_lines(file), start=1):
                where = f"{name}:{number}"
                if line is None:
                    yield Problem(where, "line_too_long", f"more than {MAX_LINE_BYTES:,} bytes: give the content by `uri`")
                elif line.strip():
                    yield from reader.read(line, where)
    except (EOFError, lzma.LZMAError, zlib.error, gzip.BadGzipFile) as exc:
        yield Problem(f"{name}:{number + 1}", "damaged", f"the compressed file breaks off here ({exc}): fetch it again")
    except OSError as exc:
        yield Problem(name, "unreadable", f"{exc.strerror or exc}: check its permissions")


class RowReader:
    """Turns lines into changes. Remembers, per document of a history, the time of its last event."""

    def __init__(self, options: PublishOptions) -> None:
        self._options = options
        self._last_ms: dict[str, int] = {}
        self._deleted: set[tuple[str, str]] = set()

    def read(self, line: bytes, where: str) -> Iterator[Change]:
        """The change that a line holds, or what is wrong with it; nothing where a delete was published before."""
        try:
            row = orjson.loads(line)
            is_history = isinstance(row, dict) and "doc_id" not in row and "path" in row
            change = self._from_history(row) if is_history else self._with_defaults(parse(DocumentChange, line))
            if not self._options.delete:
                yield change
            elif (name := (change.index, change.doc_id)) not in self._deleted:
                self._deleted.add(name)
                yield delete(change.doc_id, self._options, change.index)
        except orjson.JSONDecodeError as exc:
            yield Problem(where, "not_json", f"{exc.msg} at column {exc.colno}")
        except Rejected as exc:
            yield Problem(where, exc.reason, exc.detail)
        except ValidationError as exc:
            yield Problem(where, "invalid", describe(exc))

    def _with_defaults(self, change: DocumentChange) -> DocumentChange:
        """What the options say, where the row says nothing. An ACL of [] does say something."""
        options, said = self._options, change.model_fields_set
        fields: dict[str, object] = {}
        if options.index is not None and "index" not in said:
            fields["index"] = options.index
        if change.op == "upsert":
            if options.acl is not None and change.acl is None:
                fields["acl"] = options.acl
            if options.ttl_seconds is not None and not change.carries_expiry:
                fields["ttl_seconds"] = options.ttl_seconds
        return change.model_copy(update=fields) if fields else change

    def _from_history(self, row: dict[str, Any]) -> DocumentChange:
        op, path = row.get("op"), row["path"]
        fields: dict[str, Any] = {"op": op, "doc_id": path}
        if op == "upsert":
            fields["content"] = {"text": row.get("content"), "media_type": "text/markdown"}
            fields |= given(self._options)
        elif self._options.index is not None:
            fields["index"] = self._options.index
        time_ms = _history_time_ms(row.get("time"))
        if isinstance(path, str):
            time_ms = max(time_ms, self._last_ms.get(path, -1) + 1)
        change = DocumentChange(**fields, event_time=from_ms(time_ms))
        self._last_ms[change.doc_id] = time_ms
        return change


def _history_time_ms(value: object) -> int:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as exc:
        msg = "invalid"
        raise Rejected(msg, "time: must be a date and time such as 2024-05-01T12:00:00+02:00") from exc
    return to_ms(moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC))


@contextmanager
def _opened(path: Path) -> Iterator[Readable]:
    """The lines' bytes, unpacked by what the data begins with rather than by the file's name."""
    if str(path) == STDIN:
        yield _unpacked(sys.stdin.buffer)
        return
    with path.open("rb") as file:
        yield _unpacked(file)


def _unpacked(file: IO[bytes]) -> Readable:
    buffered = file if isinstance(file, io.BufferedReader) else io.BufferedReader(file)  # type: ignore[type-var]
    head = buffered.peek(len(_XZ_MAGIC))
    if head.startswith(_GZIP_MAGIC):
        return gzip.GzipFile(fileobj=buffered)
    if head.startswith(_XZ_MAGIC):
        return lzma.LZMAFile(buffered)
    return buffered


def _lines(file: Readable) -> Iterator[bytes | None]:
    """One line at a time; None in place of one that is too long to hold."""
    while line := file.readline(MAX_LINE_BYTES):
        if len(line) < MAX_LINE_BYTES or line.endswith(b"\n"):
            yield line
            continue
        while rest := file.readline(MAX_LINE_BYTES):
            if rest.endswith(b"\n"):
                break
        yield None
