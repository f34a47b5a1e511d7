"""`ragstream config`: what is set, and what could be."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from ragstream.cli.console import JsonOption, out, print_json, settings_for_command, usage_error
from ragstream.configuration import MASK, Value, json_of_indexes, values
from schemas.settings import Settings

app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keeps `show` a command of its own, although it is the only one."""


@app.command()
def show(
    as_json: JsonOption = False,
    as_env: Annotated[
        bool, typer.Option("--env", help="Lines for a shell or an env file; defaults and secrets are comments.")
    ] = False,
    as_markdown: Annotated[
        bool, typer.Option("--markdown", help="The page docs/settings.md: what can be set, not what is.")
    ] = False,
) -> None:
    """Show every setting with its value; secrets are masked.

    Settings come from environment variables: RAG_ and the names along the tree, joined by two underscores.

    \b
    Examples:
      ragstream config show
      ragstream config show --env > .env
      RAG_KAFKA__BOOTSTRAP_SERVERS=kafka:9092 ragstream config show --json
    """
    if as_json + as_env + as_markdown > 1:
        usage_error("give one of --json, --env and --markdown")
    if as_markdown:
        from ragstream.reference import settings_page  # noqa: PLC0415

        typer.echo(settings_page(), nl=False)
        return
    settings = settings_for_command()
    found = values(settings)
    if as_json:
        print_json({value.variable.name: _as_json(value) for value in found})
    elif as_env:
        for value in values_for_shells(settings):
            typer.echo(env_line(value))
    else:
        _print_tree(found)


def _as_json(value: Value) -> dict[str, object]:
    return {"value": value.shown, "is_default": value.is_default, "is_secret": value.variable.is_secret}


def values_for_shells(settings: Settings) -> list[Value]:
    """Those that a shell's variable can name, and the one that holds the indexes that none can."""
    rest = json_of_indexes(settings)
    return [*(value for value in values(settings) if "-" not in value.variable.name), *([rest] if rest is not None else [])]


def env_line(value: Value) -> str:
    """As a shell reads it."""
    line = f"{value.variable.name}={shlex.quote(value.shown) if value.shown else ''}"
    is_comment = value.is_default or MASK in value.shown
    return f"# {line}" if is_comment else line


def _print_tree(found: list[Value]) -> None:
    branch: tuple[str, ...] | None = None
    width = max(len(value.variable.name) for value in found)
    for value in found:
        if value.variable.path[:-1] != branch:
            if branch is not None:
                out.print()
            branch = value.variable.path[:-1]
            out.print(f"# {value.variable.section}", style="dim")
        mark = "  (default)" if value.is_default else ""
        out.print(f"{value.variable.name:{width}}  {value.shown or '-'}{mark}", style="dim" if value.is_default else "")
