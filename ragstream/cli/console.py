"""How commands speak: results on stdout (text or JSON), everything else on stderr, and errors as one line with an exit code.

Exit codes: 0 done; 1 the answer is no (findings, not found); 2 wrong usage; 17 fenced by another ingest; 18 messages lost from
the log; 65 input rejected; 70 a defect of ragstream; 75 a server is away, try again; 78 a setting is wrong, or the machine
forbids what is needed (permissions, a full disk); 130 interrupted; 141 nobody reads the output any more.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Final, NoReturn, TextIO

import orjson
import typer
from rich.console import Console
from rich.text import Text
from typer.exceptions import TyperException

from connectors.observability import configure_logging
from schemas.errors import RagError
from schemas.settings import Settings, load_settings
from schemas.wire import LAST_MS

NO: Final = 1
USAGE: Final = 2
REJECTED: Final = 65
DEFECT: Final = 70
AGAIN: Final = 75
FORBIDDEN: Final = 78
INTERRUPTED: Final = 130
UNREAD: Final = 141
"""As shells have it of what SIGPIPE ended."""

_OF_A_PATH: Final = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
)
_OF_THE_MACHINE: Final = {
    errno.ENOSPC: "free some disk",
    errno.EDQUOT: "free some disk, or raise this user's quota",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit of open files",
}


class _Output(Console):
    """Ends the command where its reader has gone (`… | head`)."""

    def on_broken_pipe(self) -> None:
        _nobody_reads()


# Document titles, file names and answers are data: nothing in them is markup.
out = _Output(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = _Output(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)

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


def print_json_array(values: Iterable[object]) -> None:
    """One JSON document on stdout, an array whose items are written as they come. Nothing is, where the first one fails."""
    opening = b"["
    for value in values:
        _write(opening + b"\n" + orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=_jsonable), end=b"")
        opening = b","
    _write(b"[]" if opening == b"[" else b"\n]")


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
    """Milliseconds since the epoch for people; empty for none. What lies beyond all dates is shown as the last one."""
    return f"{datetime.fromtimestamp(min(ms, LAST_MS) // 1000, UTC):%Y-%m-%d %H:%M:%S}Z" if ms is not None else ""


@contextmanager
def reported_errors() -> Iterator[None]:
    """What ragstream raises on purpose, and what the machine forbids, becomes one line and its exit code.

    Anything else is a defect: its traceback, a line that says so, and a code that is no answer to anything.
    """
    try:
        yield
    except RagError as exc:
        fail(str(exc), exc.exit_code)
    except KeyboardInterrupt:
        fail("interrupted", INTERRUPTED)
    except (typer.Exit, typer.Abort, TyperException):
        raise
    except Exception as exc:
        if isinstance(exc, BrokenPipeError) and (_is_unread(sys.stdout) or _is_unread(sys.stderr)):
            _nobody_reads()
        forbidden = _forbidden(exc)
        if forbidden is not None:
            fail(forbidden, FORBIDDEN)
        traceback.print_exception(exc, file=sys.stderr)
        fail(f"this is a defect of ragstream ({type(exc).__name__}): please report it, with the lines above", DEFECT)


def fail(message: str, code: int) -> NoReturn:
    """One line on stderr, and the end of the command. Raises: typer.Exit."""
    err.print(Text.assemble(("error: ", "bold red"), message))
    raise typer.Exit(code)


def usage_error(message: str) -> NoReturn:
    """The command line makes no sense. Raises: typer.Exit with the code for that."""
    fail(message, USAGE)


def _forbidden(exc: Exception) -> str | None:
    """What the machine refused, and to what; None for anything else."""
    if not isinstance(exc, OSError):
        return None
    said = exc.strerror or type(exc).__name__
    if exc.filename is not None and exc.errno in _OF_A_PATH:
        return f"{os.fsdecode(exc.filename)}: {said}: choose another place, or change its permissions"
    if exc.errno in _OF_THE_MACHINE:
        place = f"{os.fsdecode(exc.filename)}: " if exc.filename is not None else ""
        return f"{place}{said}: {_OF_THE_MACHINE[exc.errno]}"
    return None


def _nobody_reads() -> NoReturn:
    """Whoever read the output has gone: nothing more is said, at the end of the process neither. Raises: typer.Exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
    raise typer.Exit(UNREAD)


def _is_unread(stream: TextIO) -> bool:
    """Whether it is a pipe whose reader has gone."""
    poller = select.poll()
    poller.register(stream.fileno(), 0)
    return any(event & select.POLLERR for _, event in poller.poll(0))


def _write(raw: bytes, end: bytes = b"\n") -> None:
    sys.stdout.buffer.write(raw + end)
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
