"""constraints.txt pins everything exactly, fits pyproject.toml, and names no place to download from."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)$")


def pins() -> dict[str, str]:
    """Version by canonical name."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    found = [PIN.match(line) for line in lines]
    assert all(found), f"not an exact pin: {[line for line, pin in zip(lines, found, strict=True) if not pin]}"
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def test_every_line_is_an_exact_pin() -> None:
    """No addresses, no editable installs, no ranges."""
    assert pins()


def test_every_dependency_is_pinned_within_its_range() -> None:
    """`make pins` was run after the last change of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [line for extra in project["optional-dependencies"].values() for line in extra]
    pinned = pins()
    for requirement in map(Requirement, [*project["dependencies"], *extras]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not pinned: run `make pins`"
        assert version in requirement.specifier, f"{requirement.name} {version} is not {requirement.specifier}: run `make pins`"
