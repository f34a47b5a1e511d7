"""The signed token that a command sends along where query workers demand one: from a file, standard input, or RAG_TOKEN.

Never from the command's words, which everybody on the machine may read (`ps`); and never shown, in errors neither.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ragstream.cli.console import usage_error

if TYPE_CHECKING:
    from schemas.settings import Settings

STDIN: Final = "-"
VARIABLE: Final = "RAG_TOKEN"
OPTION: Final = "--token-file"
READ_AT_MOST: Final = 64 * 1024
"""Far more than a token may be: enough to see that this is none."""

TokenFileOption = Annotated[
    str | None,
    typer.Option(
        OPTION,
        metavar="FILE|-",
        help="File with a signed token (JWT) that says who asks, in place of --as; -: standard input. [default: RAG_TOKEN]",
    ),
]


def signed_token(settings: Settings, source: str | None) -> tuple[str, str] | None:
    """The token and where it is from; None where none is given. Ends the command where what is there is no token."""
    if source is not None:
        where = f"{OPTION} {source}"
        return _checked(_read(source, where), where), where
    if settings.token is not None:
        return _checked(settings.token.get_secret_value(), VARIABLE), VARIABLE
    return None


def _read(source: str, where: str) -> str:
    try:
        if source == STDIN:
            raw = sys.stdin.buffer.read(READ_AT_MOST)
        else:
            with Path(source).open("rb") as file:
                raw = file.read(READ_AT_MOST)
    except OSError as exc:
        usage_error(f"{where}: {exc.strerror or 'can not be read'}")
    return raw.decode("ascii", "replace")


def _checked(text: str, where: str) -> str:
    from schemas.queries import MAX_SIGNED_TOKEN  # noqa: PLC0415  other commands do without its models

    token = text.strip()
    if not token:
        usage_error(f"{where}: empty; it must hold a signed token (JWT)")
    if len(token) > MAX_SIGNED_TOKEN:
        usage_error(f"{where}: longer than {MAX_SIGNED_TOKEN} characters, which a token may have")
    if not token.isascii() or not token.isprintable() or " " in token:
        usage_error(f"{where}: must hold one signed token (JWT) and nothing else, without `Bearer`")
    return token
