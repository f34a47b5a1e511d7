"""docs/degradation.md lists the reasons that the code gives, all of them and no others; its settings and metrics exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from connectors.llm import ModelFailed
from query_api.retrieval import DEGRADED, Arm, ArmName, Problem
from ragstream.configuration import variables
from schemas.queries import AnswerEvent, Degradation, Mode

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "degradation.md").read_text()
ROWS, REASONS = PAGE.split("## Reasons in `degraded`")
CODE = re.compile(r"`([a-z_]+)`")


def constants() -> set[str]:
    """Every text in the code that makes answers."""
    paths = [*(ROOT / "query_api").rglob("*.py"), *(ROOT / "connectors" / "llm").rglob("*.py")]
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text())))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def listed() -> list[str]:
    return re.findall(r"^\| `([a-z_]+)` \|", REASONS, re.MULTILINE)


def cells() -> list[list[str]]:
    """The first table, row by row."""
    lines = [line for line in ROWS.splitlines() if line.startswith("| ") and not line.startswith("| what is wrong")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_reason_is_told() -> None:
    """The page has those of the type, each once; that the code gives no others is the type checker's."""
    assert sorted(listed()) == sorted(get_args(Degradation))


def test_every_reason_is_given() -> None:
    """The type, and so the page, holds none that nothing in the code says."""
    assert set(get_args(Degradation)) <= constants()


def test_whatever_goes_wrong_in_an_arm_has_its_reason() -> None:
    """Each arm, each problem, each a reason of its own that names both."""
    assert {(arm, problem): f"{arm}_{problem}" for arm in get_args(ArmName) for problem in get_args(Problem)} == DEGRADED
    arms = [Arm(arm, error=problem) for arm in get_args(ArmName) for problem in get_args(Problem)]
    assert [arm.problem for arm in arms] == list(DEGRADED.values())
    assert Arm("vector").problem is None


def test_failures_of_models_are_reasons() -> None:
    """What a model's failure is called is a reason, too."""
    kinds: list[type[ModelFailed]] = [ModelFailed, *ModelFailed.__subclasses__()]
    assert {kind.code for kind in kinds} <= set(get_args(Degradation))


def test_readers_of_this_release_take_reasons_of_a_later_one() -> None:
    """The type is closed for who writes an answer, and open for who reads it."""
    event = AnswerEvent.from_bytes(b'{"schema_version": 1, "query_id": "q", "degraded": ["rerank_failed", "of_tomorrow"]}')
    assert event.degraded == ("rerank_failed", "of_tomorrow")


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
