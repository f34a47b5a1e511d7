"""Files to changes: the file's name is the doc_id, its suffix the media type, its time of writing the event's time.

So the same files published again are the same events, which change nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from ragstream.publishing.options import Change, Problem, PublishOptions
from schemas.documents import DocumentChange
from schemas.wire import describe, from_ms

_OOXML: Final = "application/vnd.openxmlformats-officedocument"
MEDIA_TYPES: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".text": "text/plain",
    ".rst": "text/plain",
    ".html": "text/html",
    ".htm": "text/html",
    ".csv": "text/csv",
    ".pdf": "application/pdf",
    ".docx": f"{_OOXML}.wordprocessingml.document",
    ".pptx": f"{_OOXML}.presentationml.presentation",
    ".xlsx": f"{_OOXML}.spreadsheetml.sheet",
    ".epub": "application/epub+zip",
    ".ipynb": "application/x-ipynb+json",
}


def folder_changes(root: Path, options: PublishOptions) -> Iterator[Change]:
    """Every file under `root` that can be read, in the order of names; the path below `root` is the doc_id.

    Hidden files and folders are left out; unknown suffixes come as problems that are skips.
    """
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent) / name
            if not name.startswith("."):
                yield file_change(path, path.relative_to(root).as_posix(), options)


def file_change(path: Path, doc_id: str, options: PublishOptions) -> Change:
    """One file as a change of `doc_id`. Anything wrong with it is a problem."""
    where, suffix = _shown(path), path.suffix.lower()
    media_type = MEDIA_TYPES.get(suffix)
    if media_type is None:
        known = " ".join(MEDIA_TYPES)
        return Problem(
            where, "unknown_format", f"nothing reads {suffix or 'files without a suffix'}; known: {known}", is_skip=True
        )
    try:
        if options.delete:
            return delete(doc_id, options)
        return _upsert(path, where, doc_id, media_type, options)
    except ValidationError as exc:
        return Problem(where, "invalid", describe(exc))
    except OSError as exc:
        return Problem(where, "unreadable", f"{exc.strerror or exc}: check its permissions")


def delete(doc_id: str, options: PublishOptions, index: str | None = None) -> DocumentChange:
    """A delete at the present moment. Raises: ValidationError, for what can't be a doc_id."""
    fields: dict[str, Any] = {"op": "delete", "doc_id": doc_id, "event_time": from_ms(options.now_ms())}
    if index or options.index:
        fields["index"] = index or options.index
    return DocumentChange(**fields)


def _upsert(path: Path, where: str, doc_id: str, media_type: str, options: PublishOptions) -> Change:
    # One byte more than allowed tells that there is more, whatever the file does meanwhile.
    with path.open("rb") as file:
        written_ms = os.fstat(file.fileno()).st_mtime_ns // 1_000_000
        data = file.read(options.max_bytes + 1)
    if len(data) > options.max_bytes:
        return too_large(where, options.max_bytes)
    now = options.now_ms()
    time_ms = now if options.at_present else min(max(0, written_ms), now)
    if options.ttl_seconds is not None and time_ms + options.ttl_seconds * 1000 <= now:
        detail = f"--ttl counts from when the file was written ({from_ms(time_ms):%Y-%m-%d %H:%M}); --now counts from now"
        return Problem(where, "already_expired", detail)
    fields: dict[str, Any] = {"op": "upsert", "doc_id": doc_id, "event_time": from_ms(time_ms)}
    if media_type.startswith("text/"):
        try:
            fields["content"] = {"text": data.decode("utf-8-sig"), "media_type": media_type}
        except UnicodeDecodeError as exc:
            return Problem(where, "not_utf8", f"byte {exc.start} is not UTF-8: save it as UTF-8")
    else:
        fields["content"] = {"base64": data, "media_type": media_type}
    fields |= given(options)
    return DocumentChange(**fields)


def given(options: PublishOptions) -> dict[str, Any]:
    """What the options say of an upsert, as its fields."""
    fields = {"index": options.index, "acl": options.acl, "ttl_seconds": options.ttl_seconds}
    return {name: value for name, value in fields.items() if value is not None}


def too_large(where: str, max_bytes: int) -> Problem:
    remedy = "give its content by `uri`, split it, or raise RAG_KAFKA__MAX_MESSAGE_BYTES (embedded mode takes 2 MiB at most)"
    return Problem(where, "message_too_large", f"the event would take more than {max_bytes:,} bytes: {remedy}")


def _shown(path: Path) -> str:
    """File names may hold bytes that are no text."""
    return str(path).encode(errors="backslashreplace").decode()
