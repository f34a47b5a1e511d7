"""From folders, files and lines of JSON to changes in `rag.documents`: pure mapping, and the ways in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ragstream.publishing.files import delete, file_change, folder_changes
from ragstream.publishing.jsonl import STDIN, SUFFIXES, line_changes
from ragstream.publishing.options import Change, Problem, PublishOptions
from schemas.errors import Rejected

__all__ = ["Change", "Problem", "PublishOptions", "changes_from", "holds_lines"]


def changes_from(path: Path, options: PublishOptions) -> Iterator[Change]:
    """The changes that `path` holds: a folder, a file, a JSONL file (also packed), or `-` for JSONL on standard input.

    Reads as it goes. With `options.delete`, deletes of what `path` names; what isn't there any more needs `options.doc_id`.

    Raises: Rejected, when there is nothing of that name.
    """
    if path.is_dir():
        return folder_changes(path, options)
    if str(path) == STDIN or (holds_lines(path) and path.exists()):
        return line_changes(path, options)
    if options.delete and options.doc_id is not None:
        return iter([delete(options.doc_id, options)])
    if not path.exists():
        msg = "not_found"
        raise Rejected(msg, f"there is no {path}: name a folder, a file, a JSONL file, or - for standard input")
    change = file_change(path, options.doc_id or path.name, options)
    # Named by itself, it was meant.
    return iter([change._replace(is_skip=False) if isinstance(change, Problem) else change])


def holds_lines(path: Path) -> bool:
    """Whether `path` is read as lines of JSON: by its name, or because it is standard input."""
    return str(path) == STDIN or (path.suffix.lower() in SUFFIXES and not path.is_dir())
