"""What messages, docstrings and pages tell people to type exists: commands, their options, and the sections they point to."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from ragstream.cli.app import app

ROOT = Path(__file__).parents[4]
PACKAGES = ("schemas", "connectors", "flows", "query_api", "ragstream")
CODE = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
COMPOSE = [ROOT / "Dockerfile", *ROOT.glob("docker-compose*.yml")]

COMMAND = typer.main.get_command(app)

QUOTED = re.compile(r"`(?:[A-Z_]+=\S+ )*(?:\S*/)?ragstream ([^`]+)`")
TYPED = re.compile(r"^\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\S*/)?ragstream (.+?)(?:\s+#.*)?$", re.MULTILINE)
SECTION = re.compile(r"docs/([\w-]+\.md), ([A-Z][\w ]+)")


def texts(path: Path) -> Iterator[str]:
    """A file as it stands; of Python also its strings, put together as they are when they run."""
    source = path.read_text(encoding="utf-8")
    yield source
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                yield "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)


def named(path: Path) -> set[str]:
    """What follows `ragstream` wherever it is quoted as a command, or stands in a page's block of them."""
    found = {words for text in texts(path) for words in QUOTED.findall(text)}
    if path.suffix == ".md":
        blocks = re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        found |= {words for block in blocks for words in TYPED.findall(block)}
    return found


def problem_with(words: str) -> str | None:
    """Why nobody can type this; None where everybody can."""
    try:
        given = shlex.split(words)
    except ValueError:
        given = words.split()
    command: Any = COMMAND
    while given and hasattr(command, "commands"):
        if given[0] not in command.commands:
            return f"there is no `ragstream {words}`" if given[0][0] != "-" else None
        command = command.commands[given.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    asked = [word.strip("[]").partition("=")[0] for word in given]
    unknown = [word for word in asked if word.startswith("--") and word not in options]
    return f"`ragstream {words}` has no option {', '.join(unknown)}" if unknown else None


def test_every_command_that_is_named_exists() -> None:
    """With the options that are named with it."""
    places = [(path, words) for path in (*CODE, *PAGES, *COMPOSE) for words in sorted(named(path))]
    assert [f"{path.relative_to(ROOT)}: {problem}" for path, words in places if (problem := problem_with(words))] == []


def test_commands_are_really_looked_for() -> None:
    """In messages that are put together from several strings, in docstrings, in pages; and what does not exist is seen."""
    everything = {words for path in (*CODE, *PAGES) for words in named(path)}
    assert {"topics create", "ingest --workers N", "keys create"} <= everything
    assert problem_with("rebuild") is not None
    assert problem_with("topics destroy") is not None
    assert problem_with("ask --no-such-option") is not None
    assert problem_with("publish docs/ --acl '*'") is None


def test_every_section_that_is_pointed_to_is_there() -> None:
    """`docs/operations.md, Scaling` in a remedy: the page has that heading."""
    pointed = {found for path in CODE for text in texts(path) for found in SECTION.findall(text)}
    assert len(pointed) >= 3
    for page, begins in pointed:
        headings = re.findall(r"^#+ (.+)$", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.MULTILINE)
        assert any(begins.startswith(heading) for heading in headings), f"docs/{page} has no section {begins!r}"
