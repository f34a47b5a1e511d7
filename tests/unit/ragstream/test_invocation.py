"""What is printed to be typed works when it is typed."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ragstream.invocation import invocation

EXECUTABLE = Path(sys.executable)


def script(folder: Path, name: str = "ragstream") -> Path:
    """A command that says where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\necho ran\n")
    path.chmod(0o755)
    return path


def runs(text: str, cwd: Path, path: str = "/usr/bin:/bin") -> bool:
    done = subprocess.run(
        ["/bin/sh", "-c", text], cwd=cwd, env={"PATH": path}, capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout == "ran\n"


def nowhere(_name: str) -> str | None:
    return None


def test_a_command_on_the_path_is_its_name(tmp_path: Path) -> None:
    """As in an active virtual environment."""
    own = script(tmp_path / "bin")
    found = invocation(str(own), tmp_path, lambda _: str(own))
    assert found == ("ragstream", True)
    assert runs(found.text, Path("/"), f"{own.parent}:/bin")


@pytest.mark.parametrize("folder", ["venv/bin", ".", "a folder's/bin"])
def test_one_below_the_present_folder_is_named_from_there(tmp_path: Path, folder: str) -> None:
    """`make demo` runs .venv/bin/ragstream, which no shell finds by name; a blank in a path does no harm."""
    own = script(tmp_path / folder)
    for argv0 in (str(own), str(own.relative_to(tmp_path))):
        found = invocation(argv0, tmp_path, nowhere)
        assert not found.anywhere
        assert runs(found.text, tmp_path)
        assert str(tmp_path) not in found.text


def test_one_elsewhere_is_named_by_its_whole_path(tmp_path: Path) -> None:
    """So that it works from anywhere."""
    own = script(tmp_path / "elsewhere")
    here = tmp_path / "here"
    here.mkdir()
    found = invocation(str(own), here, nowhere)
    assert found.anywhere
    assert runs(found.text, here)


def test_another_command_of_that_name_is_not_meant(tmp_path: Path) -> None:
    """An older installation on the PATH would answer otherwise."""
    own, other = script(tmp_path / "venv/bin"), script(tmp_path / "usr/bin")
    assert invocation(str(own), tmp_path, lambda _: str(other)).text == "venv/bin/ragstream"


def test_a_module_is_run_by_its_python(tmp_path: Path) -> None:
    """`python -m ragstream`, with the very interpreter."""
    found = invocation("/somewhere/ragstream/__main__.py", tmp_path, nowhere)
    assert shlex.split(found.text) == [str(EXECUTABLE), "-m", "ragstream"]
    system = tmp_path / "python"
    system.symlink_to(EXECUTABLE)
    assert invocation("/somewhere/ragstream/__main__.py", tmp_path, lambda _: str(system)) == found
    assert os.access(shlex.split(found.text)[0], os.X_OK)
