"""`ragstream publish`: files and JSONL into the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ragstream.cli.console import REJECTED, JsonOption, err, hint, out, print_json, settings_for_command, usage_error, warn
from schemas.acl import AllowList, allow_list, is_principal
from schemas.errors import RagError
from schemas.settings import Settings
from schemas.wire import DEFAULT_INDEX

if TYPE_CHECKING:
    from ragstream.publishing import Problem, PublishOptions
    from ragstream.publishing.run import Summary

LINE_EVERY_S: Final = 5.0
PROBLEMS_SHOWN: Final = 20

OnStep = Callable[["Summary", "Problem | None"], None]


def publish(
    path: Annotated[
        Path, typer.Argument(metavar="PATH|-", help="Folder, file, JSONL file (also .gz, .xz), or - for JSONL on standard input.")
    ],
    index: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"Index that the documents belong to. [default: {DEFAULT_INDEX}]")
    ] = None,
    acl: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PRINCIPAL", help="Who may read: user:…, group:…, or '*' for all; repeatable. '': only the operator."
        ),
    ] = None,
    ttl: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="The documents' end, counted from the event's (the file's) time.")
    ] = None,
    delete: Annotated[bool, typer.Option("--delete", help="Publish deletes of what PATH names, as of now.")] = False,
    doc_id: Annotated[
        str | None, typer.Option("--doc-id", metavar="ID", help="Name of a single file's document. [default: the file's name]")
    ] = None,
    at_present: Annotated[
        bool, typer.Option("--now", help="Files count as changed now, not when they were last written.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first problem.")] = False,
    tokens: Annotated[bool, typer.Option("--tokens", help="Print read-your-writes tokens, one a line, for ask --after.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Publish documents as change events.

    A folder's files become documents named by their path in it; Markdown, text, HTML, CSV, PDF, DOCX, PPTX, XLSX, EPUB and
    notebooks are read, hidden and other files passed over. JSONL holds one DocumentChange a line (docs/publishing.md), or a
    history of {seq, commit, time, op, path, content}; lines that are neither are reported, and the others published.

    Publishing the same again does no harm and embeds nothing: a file's event time is when it was last written. So --now is needed
    to bring back unchanged files after --delete, and to change who may read them.

    Exit code 65: something was not published, and was reported.

    \b
    Examples:
      ragstream publish docs/ --acl '*'
      ragstream publish handbook.pdf --acl group:hr --acl user:ann
      ragstream publish docs/ --acl group:hr --now
      ragstream publish history.jsonl.xz --acl '*'
      some-exporter | ragstream publish -
      ragstream publish old.md --delete
    """
    allow = _allow_list(acl)
    if doc_id is not None and (path.is_dir() or str(path) == "-"):
        usage_error("--doc-id names the document of a single file; a folder's documents are named by their paths")
    if delete and (allow is not None or ttl is not None):
        usage_error("--delete can't carry --acl or --ttl")
    settings = settings_for_command()
    from ragstream.publishing import PublishOptions, holds_lines  # noqa: PLC0415

    is_files = not holds_lines(path)
    _check_index(settings, index or DEFAULT_INDEX, is_files=is_files)

    options = PublishOptions(index=index, acl=allow, ttl_seconds=ttl, delete=delete, doc_id=doc_id, at_present=at_present)
    started = time.monotonic()
    summary = _publish(settings, path, options, strict=strict)
    took_s = time.monotonic() - started
    if as_json:
        print_json(_as_json(summary, took_s))
    else:
        _print_summary(summary, took_s, allow)
        if tokens:
            for token in summary.tokens.values():
                out.print(str(token))
        if is_files and allow is not None and not at_present:
            hint("Rights of files that were published before, and not written since, change with --now only")
    if summary.problem_count:
        raise typer.Exit(REJECTED)


def _publish(settings: Settings, path: Path, options: PublishOptions, *, strict: bool) -> Summary:
    from connectors.kafka import cluster_identity  # noqa: PLC0415
    from ragstream.publishing import changes_from  # noqa: PLC0415
    from ragstream.publishing.run import Publisher  # noqa: PLC0415
    from ragstream.publishing.sink import open_sink  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    found = reach(settings)
    sink = open_sink(found)
    changes = changes_from(path, replace(options, max_bytes=sink.max_event_bytes))
    try:
        with _progress() as on_step:
            topic = found.settings.kafka.topics.documents
            publisher = Publisher(sink, topic, on_step, cluster_identity(found.link, topic))
            try:
                return publisher.publish(changes, strict=strict)
            except (RagError, KeyboardInterrupt):
                hint(f"{publisher.summary.published:,} changes are known to be published; publishing all again does no harm")
                raise
    finally:
        sink.close()


def _allow_list(names: list[str] | None) -> AllowList | None:
    if not names:
        return None
    given = [name for name in names if name]
    wrong = [name for name in given if not is_principal(name)]
    if wrong:
        usage_error(f"--acl {wrong[0]!r} is no principal: give user:NAME, group:NAME, or '*' for all")
    return allow_list(given)


def _check_index(settings: Settings, index: str, *, is_files: bool) -> None:
    known = settings.indexes.get(index)
    if known is None:
        names = ", ".join(sorted(settings.indexes))
        warn(f"these settings know the indexes {names}; where ingest doesn't know {index!r} either, its changes are dead letters")
    elif known.versions == "producer" and is_files:
        usage_error(
            f"index {index!r} orders changes by the producer's `version`, which files don't have: publish JSONL with versions"
        )


@contextmanager
def _progress() -> Iterator[OnStep]:
    """A moving line on a terminal, else a line now and then; problems as they come."""
    shown = 0

    def report(problem: Problem | None) -> None:
        nonlocal shown
        if problem is None or problem.is_skip:
            return
        shown += 1
        if shown <= PROBLEMS_SHOWN:
            err.print(f"{problem.where}: {problem.reason}: {problem.detail}")
        elif shown == PROBLEMS_SHOWN + 1:
            err.print("… more problems follow; --json lists them")

    if not err.is_terminal:
        next_line_s = time.monotonic() + LINE_EVERY_S

        def step(summary: Summary, problem: Problem | None) -> None:
            nonlocal next_line_s
            report(problem)
            if time.monotonic() >= next_line_s:
                err.print(f"{summary.published:,} changes published")
                next_line_s = time.monotonic() + LINE_EVERY_S

        yield step
        return
    with err.status("publishing …") as moving:

        def move(summary: Summary, problem: Problem | None) -> None:
            report(problem)
            moving.update(f"{summary.published:,} changes published")

        yield move


def _as_json(summary: Summary, took_s: float) -> dict[str, object]:
    return {
        "published": summary.published,
        "ops": dict(summary.ops),
        "bytes": summary.nbytes,
        "skipped": dict(summary.skipped),
        "without_acl": summary.without_acl,
        "problem_count": summary.problem_count,
        "problems": [{"where": p.where, "reason": p.reason, "detail": p.detail} for p in summary.problems],
        "took_s": round(took_s, 3),
        "tokens": [str(token) for token in summary.tokens.values()],
    }


def _print_summary(summary: Summary, took_s: float, allow: AllowList | None) -> None:
    ops = ", ".join(f"{count:,} {op}" for op, count in sorted(summary.ops.items()))
    changes = "change" if summary.published == 1 else "changes"
    out.print(f"published {summary.published:,} {changes}{f' ({ops})' if ops else ''} in {took_s:.1f} s")
    if summary.skipped:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in summary.skipped.most_common())
        out.print(f"passed over: {kinds}")
    if summary.problem_count:
        out.print(f"not published: {summary.problem_count:,}")
    if allow is None and summary.without_acl:
        hint(
            f"{summary.without_acl:,} documents say nothing of who may read them: new ones are readable by nobody but the "
            "operator (ask --as role:operator).\nTo open them: the same command with  --acl '*'  (all), or --acl group:NAME"
        )
