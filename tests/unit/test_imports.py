"""Which room may import which, read from the source: ragstream → flows, query_api → connectors → schemas, never sideways."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Room → the rooms it may import besides itself.
ALLOWED = {
    "schemas": set[str](),
    "connectors": {"schemas"},
    "flows": {"connectors", "schemas"},
    "query_api": {"connectors", "schemas"},
    "ragstream": {"flows", "query_api", "connectors", "schemas"},
}


def modules(room: str) -> Iterator[Path]:
    """The room's source files."""
    yield from sorted((ROOT / room).rglob("*.py"))


def imports(path: Path, source: str | None = None) -> Iterator[str]:
    """The full dotted names a file imports, wherever in it, relative ones resolved."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(source or path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_lies_below_it(room: str) -> None:
    """Dependencies point one way."""
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imports(path)
        if name.split(".")[0] in ALLOWED.keys() - {room} - ALLOWED[room]
    }
    assert not found


def test_a_connector_never_imports_another() -> None:
    """connectors/<a> knows nothing of connectors/<b>: they share contracts in schemas/, and what knows no connector."""
    beside = (ROOT / "connectors").glob("*.py")
    shared = {path.stem for path in beside if not any(name.startswith("connectors.") for name in imports(path))}
    found = set()
    for path in modules("connectors"):
        own, *rest = path.relative_to(ROOT / "connectors").parts
        for name in imports(path):
            room, _, inner = name.partition(".")
            if room == "connectors" and rest and inner.split(".")[0] not in {own, *shared}:
                found.add(f"{path.relative_to(ROOT)} imports {name}")
    assert not found


def test_nothing_imports_the_tests() -> None:
    """What ships needs nothing of tests/ or benchmarks/."""
    found = {
        f"{path.relative_to(ROOT)} imports {name}"
        for room in ALLOWED
        for path in modules(room)
        for name in imports(path)
        if name.split(".")[0] in {"tests", "benchmarks"}
    }
    assert not found


def test_imports_are_found_in_every_form() -> None:
    """The rules above would notice relative, aliased and nested imports."""
    source = "import a.b as c\nfrom . import d\nfrom ..kafka import e\ndef f():\n    from g.h import i\n"
    path = ROOT / "connectors" / "milvus" / "store.py"
    assert set(imports(path, source)) == {"a.b", "connectors.milvus.d", "connectors.kafka.e", "g.h.i"}


def test_every_package_that_is_imported_is_declared() -> None:
    """What our dependencies happen to bring along may leave with their next version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], extras["openvino"], extras["local-llm"]]
    declared = {distribution_name(requirement) for requirements in lists for requirement in requirements}
    distributions = metadata.packages_distributions()
    found = set()
    for room in ALLOWED:
        for path in modules(room):
            for top in {name.split(".")[0] for name in imports(path)} - ALLOWED.keys() - sys.stdlib_module_names:
                owners = {distribution_name(owner) for owner in distributions.get(top, [top])}
                if not owners & declared:
                    found.add(f"{path.relative_to(ROOT)} imports {top} of {', '.join(sorted(owners))}")
    assert not found


def distribution_name(requirement: str) -> str:
    """`Faust_Streaming==0.15.3` → `faust-streaming`."""
    name = requirement
    for end in "[<>=;!~ ":
        name = name.partition(end)[0]
    return name.lower().replace("_", "-").replace(".", "-")
