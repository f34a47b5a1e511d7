"""`ragstream inspect`: what the index holds of a document, or of all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from ragstream.cli.ask import version_text
from ragstream.cli.console import (
    NO,
    JsonOption,
    fail,
    moment_text,
    out,
    print_json,
    print_json_array,
    print_json_line,
    settings_for_command,
    usage_error,
)
from schemas.acl import AllowList
from schemas.settings import Settings

if TYPE_CHECKING:
    from ragstream.inspection.reports import DocumentReport

ID_WIDTH: Final = 48


def inspect(
    doc_id: Annotated[str | None, typer.Argument(metavar="[DOC_ID]", help="The document. Without: a line for each.")] = None,
    index: Annotated[str | None, typer.Option(metavar="NAME", help="Index to look in. [default: all]")] = None,
    jsonl: Annotated[bool, typer.Option("--jsonl", help="One line of JSON a document, with its chunks and their texts.")] = False,
    live_only: Annotated[
        bool, typer.Option("--live-only", help="Leave out what is deleted, expired or has no text yet.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the index holds: version, rights, expiry, content hash, source position, chunks with their texts and row ids.

    Shows everything, whoever may read it: for operators. Exit code 1: there is no such document.

    In JSON `acl` has the principals of which a reader must have one; [] is nobody but the operator. Where it takes several such
    lists (a newer version is a dead letter), it is a list of them, and a reader must have one principal of each; `acl_lists` is
    always a list of lists. `expires_at` is null for never. `deleted` stays true where what came after the delete is a dead
    letter, named by `failed_version`. --json gives an object for one document, and an array for all, or where several indexes
    have it.

    \b
    Examples:
      ragstream inspect
      ragstream inspect cards/card-delivery
      ragstream inspect --jsonl --live-only > manifests.jsonl
      ragstream inspect --json | jq 'map(select(.acl == ["*"]) | .doc_id)'
    """
    if as_json and jsonl:
        usage_error("give one of --json and --jsonl")
    settings = settings_for_command()
    if doc_id is None:
        shown = (report for report in _all(settings, index) if not live_only or report.status == "live")
        if as_json:
            print_json_array(shown)
        elif jsonl:
            for report in shown:
                print_json_line(report)
        else:
            _print_all(shown, settings)
        return
    found = [report for report in _one(settings, doc_id, index) if not live_only or report.status == "live"]
    if not found:
        where = f" in index {index}" if index is not None else ""
        fail(f"there is no document {doc_id!r}{where}", NO)
    if as_json:
        print_json(found[0] if len(found) == 1 else found)
        return
    for report in found:
        if jsonl:
            print_json_line(report)
        else:
            _print(report, settings)


def _print_all(shown: Iterator[DocumentReport], settings: Settings) -> None:
    first = next(shown, None)  # what can't be asked is an error alone
    out.print(Text(_line("index", "document", "version", "chunks", "state", "readers, end"), style="bold"))
    for report in chain([first] if first is not None else [], shown):
        out.print(_row(report, settings))


def _one(settings: Settings, doc_id: str, index: str | None) -> list[DocumentReport]:
    from ragstream.inspection.documents import open_snapshot  # noqa: PLC0415
    from ragstream.inspection.reports import find, report  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    found = reach(settings)
    with open_snapshot(found) as snapshot:
        keys = find(snapshot, doc_id, index, found.settings)
        reports = [report(snapshot, key, found.settings, _now_ms()) for key in keys]
    return [one for one in reports if one is not None]


def _all(settings: Settings, index: str | None) -> Iterator[DocumentReport]:
    from ragstream.inspection.documents import open_snapshot  # noqa: PLC0415
    from ragstream.inspection.reports import reports  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    found = reach(settings)
    with open_snapshot(found) as snapshot:
        yield from reports(snapshot, found.settings, _now_ms(), index)


def _row(report: DocumentReport, settings: Settings) -> str:
    version = version_text(report.version, settings, report.index)
    readers = readers_text(report.acl_lists)
    end = f", until {moment_text(report.expires_at_ms)}" if report.expires_at_ms is not None else ""
    failed = ", newest version failed" if report.failed_version is not None else ""
    return _line(report.index, report.doc_id, version, str(report.chunk_count), report.status + failed, readers + end)


def _line(index: str, doc_id: str, version: str, chunks: str, state: str, readers: str) -> str:
    return f"{index:8}  {doc_id:{ID_WIDTH}}  {version:20}  {chunks:>6}  {state:8}  {readers}"


def _print(report: DocumentReport, settings: Settings) -> None:
    out.print(Text(f"{report.title or report.doc_id}  ({report.status})", style="bold"))
    failed = ""
    if report.failed_version is not None:
        older = ": what is shown is older" if report.chunk_count else ""
        failed = f"{version_text(report.failed_version, settings, report.index)} is a dead letter{older}"
    fields = {
        "document": f"{report.index}/{report.doc_id}",
        "source": report.source_uri or "",
        "version": version_text(report.version, settings, report.index),
        "failed": failed,
        "readers": readers_text(report.acl_lists) + (" (narrowed ahead of the write path)" if report.narrowed_ahead else ""),
        "expires": moment_text(report.expires_at_ms),
        "content": f"{report.content_hash or ''} {report.media_type}".strip(),
        "event": f"partition {report.source.partition}, offset {report.source.offset}" if report.source else "",
        "metadata": ", ".join(f"{name}={value}" for name, value in sorted(report.metadata.items())),
        "garbage": f"{len(report.superseded)} superseded rows" if report.superseded else "",
    }
    for name, text in fields.items():
        if text:
            out.print(f"{name:9}  {text}")
    for chunk in report.chunks:
        out.print()
        out.print(Text(f"chunk {chunk.position}  characters {chunk.start}-{chunk.end}  row {chunk.row_id}", style="dim"))
        out.print(chunk.text)


def readers_text(lists: tuple[AllowList, ...]) -> str:
    """Who may read: on all of these lists."""
    return "  and  ".join(" ".join(allow) or "operator only" for allow in lists)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
