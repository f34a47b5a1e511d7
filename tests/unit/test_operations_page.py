"""docs/operations.md tells what is there: every metric, exit code, setting, log event and topic it names, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from ragstream.configuration import INDEX_PLACEHOLDER, variables
from schemas import errors
from schemas.errors import RagError
from schemas.settings import TopicSettings
from tests.metrics import registered_metrics

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
PACKAGES = ("connectors", "flows", "query_api", "ragstream")


def test_every_metric_is_in_the_table() -> None:
    """With its kind and its labels."""
    rows = re.findall(r"^\| `(rag_\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", PAGE, re.MULTILINE)
    told = {name: (kind, tuple(labels.split(",")) if labels else ()) for name, labels, kind in rows}
    assert len(rows) == len(told)
    assert told == registered_metrics()


def test_every_exit_code_of_an_error_is_in_the_table() -> None:
    """And those that no error has: done, no, wrong usage, and what shells make of signals."""
    told = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RagError)}
    assert raised <= told
    assert told - raised == {0, 1, 2, 130, 137, 141}


def test_every_setting_named_exists() -> None:
    """A renamed one would leave operators with a warning."""
    known = {variable.name for variable in variables()}
    sections = {name.rsplit("__", 1)[0] for name in known}
    named = set(re.findall(r"RAG_[A-Z][A-Z_]*[A-Z](?![a-z<])", PAGE)) - {"RAG_INDEXES"}
    assert named
    assert named <= known | sections
    assert f"RAG_INDEXES__{INDEX_PLACEHOLDER}__" in PAGE


def test_every_log_event_named_is_logged() -> None:
    """As its first words stand in the code."""
    code = "\n".join(path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    section = PAGE.partition("\n## Logs\n")[2].partition("\n## ")[0]
    events = [event for row in re.findall(r"^\| (`.+?) \|", section, re.MULTILINE) for event in re.findall(r"`([^`]+)`", row)]
    assert len(events) > 15
    names = [event for event in events if event != "server"]
    assert [event for event in names if f'"{event}' not in code] == []


def test_every_topic_is_in_the_table() -> None:
    """Under its default name."""
    for name in TopicSettings().model_dump().values():
        assert f"`{name}`" in PAGE or f"`{name}.<generation>`" in PAGE


def test_links_lead_somewhere() -> None:
    """Files beside it, and headings of this page and of others."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        file, _, heading = target.partition("#")
        page = ROOT / "docs" / file if file else ROOT / "docs" / "operations.md"
        if page.name == "benchmarks.md":
            continue  # written by `make bench`
        assert page.exists(), target
        slugs = {
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in page.read_text().splitlines()
            if line.startswith("#")
        }
        assert not heading or heading in slugs, target
