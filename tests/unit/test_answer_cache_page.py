"""docs/answer-cache.md lists the verdicts that there are, all of them and no others, and settings that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import get_args

from ragstream.configuration import variables
from schemas.queries import CacheVerdict

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "answer-cache.md").read_text()


def test_every_verdict_is_told() -> None:
    """In the table of verdicts, each once; that the code gives no others is the type checker's."""
    table = PAGE.split("| verdict | means |")[1].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == sorted(get_args(CacheVerdict))


def test_every_verdict_is_given() -> None:
    """None is told of that nothing in the code says."""
    paths = [*(ROOT / "query_api" / "cache").glob("*.py"), ROOT / "query_api" / "recollection.py"]
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    assert set(get_args(CacheVerdict)) <= {node.value for node in nodes if isinstance(node, ast.Constant)}


def test_its_settings_exist() -> None:
    """Whoever looks one up finds it."""
    assert set(re.findall(r"RAG_[A-Z_]+", PAGE)) - {"RAG_CACHE__"} <= {variable.name for variable in variables()}
