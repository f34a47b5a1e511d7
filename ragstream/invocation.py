"""How the command that runs is typed: what a person can copy into another terminal."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

MODULE_FILE = "__main__.py"
Which = Callable[[str], str | None]


class Invocation(NamedTuple):
    """`text` is the words before the subcommand, quoted for a shell. `anywhere`: also from other folders than this one."""

    text: str
    anywhere: bool


def invocation(argv0: str | None = None, cwd: Path | None = None, which: Which = shutil.which) -> Invocation:
    """Its name where the shell finds it by that, else its path, seen from the present folder where it lies below it.

    Args:
        argv0: what this process was started as. cwd: the present folder. which: as `shutil.which`.
    """
    own = Path(argv0 if argv0 is not None else sys.argv[0])
    here = cwd if cwd is not None else Path.cwd()
    is_module = own.name == MODULE_FILE
    program, rest = (Path(sys.executable), " -m ragstream") if is_module else (own, "")
    path = here / program
    found = which(program.name)
    # Not by the file that links lead to: every environment's Python leads to the same one.
    if found is not None and here / found == path:
        return Invocation(program.name + rest, anywhere=True)
    is_below = path.is_relative_to(here)
    shown = path.relative_to(here) if is_below else path
    # A bare name would be looked up along the PATH, where it isn't.
    text = f"./{shown}" if is_below and len(shown.parts) == 1 else str(shown)
    return Invocation(shlex.quote(text) + rest, anywhere=not is_below)
