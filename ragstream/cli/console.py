"""How commands speak: results on stdout (text or JSON), everything else on stderr, and errors as one line with an exit code.

Exit codes: 0 done; 1 the answer is no (findings, not found); 2 wrong usage; 17 fenced by another ingest; 18 messages lost from the log;
65 input rejected; 70 internal; 75 a server is away, try again; 78 a setting is wrong; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, NoReturn

import orjson
import typer
from rich.console import Console

from connectors.observability import configure_logging
from schemas.errors import RagError
from schemas.settings import Settings, load_settings

INTERRUPTED = 130

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

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
    sys.stdout.buffer.write(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=_jsonable) + b"\n")
    sys.stdout.buffer.flush()


def _jsonable(value: object) -> object:
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json")
    if isinstance(value, tuple | set | frozenset):
        return list(value)
    return str(value)


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
    err.print(f"[bold red]error:[/] {message}", markup=True) if "[" not in message else err.print(
        "error: " + message, markup=False
    )
    raise typer.Exit(code)
