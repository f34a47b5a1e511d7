"""`ragstream status`: how far, how much, how well."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from ragstream.cli.console import (
    JsonOption,
    err,
    moment_text,
    out,
    print_json,
    print_json_line,
    print_rows,
    settings_for_command,
    warn,
)

if TYPE_CHECKING:
    from ragstream.inspection.health import Health
    from ragstream.inspection.status import Status

SAID_FROM: Final = 5_000
"""Reading fewer records than this is over before it is said."""


def status(
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again; with --json, a line each time.")] = False,
    every: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="How often, with --watch.")] = 2.0,
) -> None:
    """Show how far the index is: positions and lag by partition, outcomes, documents, chunks, dead letters, processes.

    Reads the log itself, so on Kafka it also works while nothing else runs. There the first call reads the whole index log to
    count documents, and keeps what it read under the data directory.

    \b
    Examples:
      ragstream status
      ragstream status --json | jq .lag
      ragstream status --watch
    """
    settings = settings_for_command()
    from ragstream.inspection.status import read_status  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    while True:
        # Anew each time: an `up` that was started again is somewhere else.
        found = read_status(reach(settings), _say)
        if as_json:
            (print_json_line if watch else print_json)(_as_json(found))
        else:
            if watch and out.is_terminal:
                out.clear()
            _print(found)
        if not watch:
            return
        time.sleep(every)


def _say(left: int) -> None:
    if err.is_terminal and left >= SAID_FROM:
        err.print(f"reading the index log: {left:,} records to go", end="\r")


def _as_json(found: Status) -> dict[str, object]:
    totals = _totals(found)
    return {
        "bootstrap": found.bootstrap,
        "embedded": found.is_embedded,
        "generation": found.generation,
        "lag": found.lag,
        "documents": totals[0] if totals else None,
        "chunks": totals[1] if totals else None,
        "dead_letters": found.dead_letters,
        "outcomes": found.outcomes,
        "partitions": found.partitions,
        "indexes": found.indexes,
        "models": found.models,
        "chunkers": found.chunkers,
        "ingest": found.ingest,
        "query": found.query,
        "note": found.note,
    }


def _totals(found: Status) -> tuple[int, int] | None:
    if found.indexes is None:
        return None
    return sum(c.documents for c in found.indexes.values()), sum(c.chunks for c in found.indexes.values())


def _print(found: Status) -> None:
    kind = " (embedded)" if found.is_embedded else ""
    out.print(Text(f"generation {found.generation} on {found.bootstrap}{kind}", style="bold"))
    out.print()
    has_view = any(partition.reflected is not None for partition in found.partitions)
    rows = [
        (p.partition, p.end, p.watermark, p.lag, *((p.reflected,) if has_view else ()), moment_text(p.written_at_ms) or "never")
        for p in found.partitions
    ]
    print_rows(("partition", "end", "watermark", "lag", *(("reflected",) if has_view else ()), "last published"), rows)
    out.print()
    outcomes = ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(found.outcomes.items())) or "none yet"
    out.print(f"outcomes      {outcomes}")
    out.print(f"dead letters  {found.dead_letters:,}")
    _print_counts(found)
    for name, prints in (("model", found.models), ("chunker", found.chunkers)):
        out.print(f"{name:12}  {', '.join(prints) or 'unknown: nothing is published yet'}")
    _print_process("ingest", found.ingest)
    _print_process("query", found.query)


def _print_counts(found: Status) -> None:
    if found.indexes is None:
        warn(f"documents can't be counted now: {found.note}")
        return
    for index, counts in found.indexes.items():
        rest = f", {counts.deleted:,} deleted, {counts.expired:,} expired, {counts.pending:,} without text"
        out.print(f"index {index:6}  {counts.documents:,} documents, {counts.chunks:,} chunks{rest}")
    if not found.indexes:
        out.print("documents     none yet")


def _print_process(name: str, health: Health) -> None:
    waiting = "; ".join(f"{part}: {reason}" for part, reason in health.waiting_for.items())
    style = {"ready": "green", "waiting": "yellow", "unreachable": "dim"}[health.state]
    out.print(Text.assemble(f"{name:12}  ", (health.state, style), f"  {health.url}{f'  ({waiting})' if waiting else ''}"))
