"""How commands speak: results on stdout (text or JSON), everything else on stderr, and errors as one line with an exit code.

Exit codes: 0 done; 1 the answer is no (findings, not found); 2 wrong usage; 17 fenced by another ingest; 18 messages lost from
the log; 65 input rejected; 70 internal; 75 a server is away, try again; 78 a setting is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final, NoReturn

import orjson
import typer
from rich.console import Console
from rich.text import Text

from connectors.observability import configure_logging
from schemas.errors import RagError
from schemas.settings import Settings, load_settings

NO: Final = 1
USAGE: Final = 2
REJECTED: Final = 65
AGAIN: Final = 75
INTERRUPTED: Final = 130

# Document titles, file names and answers are data: nothing in them is markup.
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output: one JSON document.")]


def settings_for_command(*, quiet: bool = True) -> Settings:
    """The settings, with logging set up: commands that report stay quiet below warnings."""
    with reported_errors():
        settings = load_settings()
    observability = settings.observability
    if quiet and observability.log_level == "info":
        observability = observability.model_copy(update={"log_level": "warning"})
    configure_logging(observability)
    return settings


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    _write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=_jsonable))


def print_json_line(value: object) -> None:
    """One line of JSON on stdout."""
    _write(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=_jsonable))


def print_rows(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A small table: columns as wide as they must be, numbers to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(line[i]) for line in [list(header), *cells]) for i in range(len(header))]
    is_number = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(header))]
    out.print(Text(_aligned(header, widths, is_number), style="bold"))
    for line in cells:
        out.print(_aligned(line, widths, is_number))


def warn(message: str) -> None:
    """Something to know, on stderr."""
    err.print(Text.assemble(("warning: ", "bold yellow"), message))


def hint(message: str) -> None:
    """What to do next, on stderr."""
    err.print(Text(message, style="dim"))


def moment_text(ms: int | None) -> str:
    """Milliseconds since the epoch for people; empty for none."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z" if ms is not None else ""


@contextmanager
def reported_errors() -> Iterator[None]:
    """What ragstream raises on purpose becomes one line and its exit code; anything else is a bug and keeps its traceback."""
    try:
        yield
    except RagError as exc:
        fail(str(exc), exc.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the end of the command. Raises: typer.Exit."""
    err.print(Text.assemble(("error: ", "bold red"), message))
    raise typer.Exit(code)


def usage_error(message: str) -> NoReturn:
    """The command line makes no sense. Raises: typer.Exit with the code for that."""
    fail(message, USAGE)


def _write(raw: bytes) -> None:
    sys.stdout.buffer.write(raw + b"\n")
    sys.stdout.buffer.flush()


def _jsonable(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _aligned(line: Sequence[str], widths: Sequence[int], is_number: Sequence[bool]) -> str:
    cells = [
        text.rjust(width) if to_right else text.ljust(width)
        for text, width, to_right in zip(line, widths, is_number, strict=True)
    ]
    return "  ".join(cells).rstrip()
