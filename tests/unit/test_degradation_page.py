"""docs/degradation.md lists the reasons that the code gives, all of them and no others; its settings and metrics exist."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from connectors.llm import ModelFailed
from query_api.generation.answerer import PROMPT_FAILED
from ragstream.configuration import variables
from schemas.queries import Mode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "degradation.md").read_text()
ROWS, REASONS = PAGE.split("## Reasons in `degraded`")
CODE = re.compile(r"`([a-z_]+)`")
ARMS = ("vector", "keyword")


def sources() -> Iterator[ast.Module]:
    for path in (ROOT / "query_api").rglob("*.py"):
        yield ast.parse(path.read_text())


def given() -> set[str]:
    """Every reason in the code: what `degrade` is called with, what is appended to a final event, what models and arms say."""
    kinds: list[type[ModelFailed]] = [ModelFailed, *ModelFailed.__subclasses__()]
    found = {PROMPT_FAILED, *(kind.code for kind in kinds)}
    found |= {f"{arm}_{problem}" for arm in ARMS for problem in problems_of_arms()}
    for tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "degrade":
                found |= texts(node.args)
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["reasons"]:
                found |= texts(getattr(node.value, "keys", []))
            if isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "degraded" and isinstance(value, ast.Tuple):
                        found |= texts(value.elts)
            if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["problem"]:
                found |= texts([node.value])
    # The vector arm alone spans several indexes.
    return (found | {"vector_incomplete"}) - {"keyword_incomplete"}


def texts(nodes: list[ast.expr]) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def problems_of_arms() -> set[str]:
    """What `_problem` in retrieval.py makes of an exception."""
    paths = [ROOT / "query_api" / "retrieval.py", *(ROOT / "query_api" / "retrieval").glob("*.py")]
    trees = [ast.parse(path.read_text()) for path in paths if path.exists()]
    functions = [
        node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "_problem"
    ]
    (function,) = functions
    return {text for node in ast.walk(function) if isinstance(node, ast.Return) and node.value for text in texts([node.value])}


def listed() -> list[str]:
    return re.findall(r"^\| `([a-z_]+)` \|", REASONS, re.MULTILINE)


def cells() -> list[list[str]]:
    """The first table, row by row."""
    lines = [line for line in ROWS.splitlines() if line.startswith("| ") and not line.startswith("| what is wrong")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_reason_is_told_and_given() -> None:
    """The page and the code have the same reasons, each once."""
    assert sorted(listed()) == sorted(given())


def test_rows_name_reasons_modes_and_settings_that_exist() -> None:
    """Whoever looks one up finds it."""
    names = {variable.name for variable in variables()}
    for row in cells():
        assert len(row) == 7, row
        assert set(CODE.findall(row[2])) <= set(get_args(Mode)), row
        assert set(CODE.findall(row[3])) <= set(listed()), row
    assert set(re.findall(r"RAG_[A-Z_]+", PAGE)) <= names


def test_every_reason_has_its_row() -> None:
    """Each reason is explained by what happens, apart from those that models' own answers earn."""
    told = {reason for row in cells() for reason in CODE.findall(row[3])}
    assert set(listed()) - told == {"keyword_unavailable", "prompt_failed", "content_filtered", "uncited"}


def test_every_metric_is_in_the_operators_page() -> None:
    """Which is compared with what the processes register."""
    operations = (ROOT / "docs" / "operations.md").read_text()
    assert all(f"`{metric}" in operations for metric in re.findall(r"rag_[a-z_]+", ROWS))
