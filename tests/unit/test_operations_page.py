"""docs/operations.md tells what is there: every metric, exit code, setting, log event and topic it names, and no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from flows.ingest import metrics
from query_api.cache import CacheMetrics
from query_api.canary import CanaryMetrics
from query_api.feedback import FeedbackMetrics
from query_api.generation.metrics import ModelMetrics
from query_api.health import start_health
from query_api.http.envelope import HttpMetrics
from query_api.metrics import QueryMetrics
from query_api.view import IndexView
from ragstream.configuration import INDEX_PLACEHOLDER, variables
from schemas import errors
from schemas.errors import RagError
from schemas.settings import Settings, TopicSettings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
PACKAGES = ("connectors", "flows", "query_api", "ragstream")


class _NoView:
    """Only registered, never read."""

    def access_lag_s(self) -> float | None:
        return None


@pytest.fixture(scope="module")
def registered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Kind and labels of every metric of both processes, by name."""
    registry = CollectorRegistry(auto_describe=False)
    for register in (QueryMetrics, CacheMetrics, ModelMetrics, FeedbackMetrics, CanaryMetrics, HttpMetrics):
        register(registry)
    settings = Settings.model_validate({"observability": {"query_port": 0}})
    with closing(start_health(settings, registry, cast(IndexView, _NoView()))):
        pass
    assert metrics.EVENTS is not None  # imported, hence registered
    return {name: about for source in (registry, REGISTRY) for name, about in _described(source) if name.startswith("rag_")}


def _described(registry: CollectorRegistry) -> Iterator[tuple[str, tuple[str, tuple[str, ...]]]]:
    for collector in list(cast(Any, registry)._collector_to_names):
        for family in getattr(collector, "describe", list)():
            suffix = "_total" if family.type == "counter" else ""
            yield family.name + suffix, (family.type, tuple(getattr(collector, "_labelnames", ())))


def test_every_metric_is_in_the_table(registered: dict[str, tuple[str, tuple[str, ...]]]) -> None:
    """With its kind and its labels."""
    rows = re.findall(r"^\| `(rag_\w+)(?:\{([\w,]+)\})?` \| (\w+) \|", PAGE, re.MULTILINE)
    told = {name: (kind, tuple(labels.split(",")) if labels else ()) for name, labels, kind in rows}
    assert len(rows) == len(told)
    assert told == registered


def test_every_exit_code_of_an_error_is_in_the_table() -> None:
    """And those that click and signals add."""
    told = {int(code) for code in re.findall(r"^\| (\d+) \| ", PAGE, re.MULTILINE)}
    raised = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RagError)}
    assert raised <= told
    assert told - raised == {0, 2, 130}


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
