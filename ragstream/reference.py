"""Makes the pages that are made from the code: `python -m ragstream.reference` writes docs/settings.md and docs/cli.md."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import typer

from ragstream.configuration import INDEX_PLACEHOLDER, Variable, variables

DOCS: Final = Path(__file__).parents[1] / "docs"
WIDTH: Final = 100
NOTE: Final = "<!-- Made by `python -m ragstream.reference`; a test fails when it is not current. -->"


def settings_page() -> str:
    """docs/settings.md."""
    parts = [
        "# Settings",
        NOTE,
        "Settings are environment variables: `RAG_`, then the names along the tree, joined by two underscores. Empty counts as "
        "not set. `ragstream config show` tells what is set, with secrets masked; `ragstream doctor` checks that it works. Where "
        "no server is named, the embedded part runs in its place.",
    ]
    for section, members in groupby(variables(), key=lambda variable: (variable.path[:-1], variable.section)):
        path, about = section
        parts += [f"## {_heading(path)}", about, "\n".join(_table(list(members)))]
    return "\n\n".join(parts) + "\n"


def cli_page() -> str:
    """docs/cli.md."""
    from ragstream.cli.app import app  # noqa: PLC0415

    parts = ["# The `ragstream` command", NOTE]
    for words, text in _helps(typer.main.get_command(app), ("ragstream",)):
        parts.append(f"## {' '.join(words)}\n\n```text\n{text}\n```")
    return "\n\n".join(parts) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {"settings.md": settings_page, "cli.md": cli_page}


def main() -> None:
    """Write every page."""
    DOCS.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")


def _heading(path: tuple[str, ...]) -> str:
    if not path:
        return "Everywhere"
    return "An index" if INDEX_PLACEHOLDER in path else " ".join(path).replace("_", " ").capitalize()


def _table(members: list[Variable]) -> Iterator[str]:
    yield "| variable | takes | default | |"
    yield "|---|---|---|---|"
    for variable in members:
        default = f"`{variable.default}`" if variable.default else ""
        yield f"| `{variable.name}` | {_cell(variable.kind)} | {default} | {_cell(variable.description)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _helps(command: Any, words: tuple[str, ...], parent: Any = None) -> Iterator[tuple[tuple[str, ...], str]]:
    context = command.make_context(words[-1], ["--help"], parent=parent, resilient_parsing=True, terminal_width=WIDTH)
    context.color = False
    yield words, "\n".join(line.rstrip() for line in command.get_help(context).strip().splitlines())
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from _helps(inner, (*words, name), context)


if __name__ == "__main__":
    main()
