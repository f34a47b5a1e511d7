"""deploy/alerts.yaml and deploy/dashboard.json: sound files that name metrics, labels and values which there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from connectors.kafka.topic_specs import QUERY_RETENTION_MS
from schemas.index import Outcome as EventOutcome
from schemas.queries import Outcome
from schemas.settings import CacheSettings, ObservabilitySettings, QuerySettings
from tests.markdown import ROOT
from tests.metrics import Described, registered_metrics

DEPLOY = ROOT / "deploy"
ALERTS = (DEPLOY / "alerts.yaml").read_text()
DASHBOARD = json.loads((DEPLOY / "dashboard.json").read_text())
SUFFIXES = {"_bucket": {"le"}, "_sum": set[str](), "_count": set[str]()}
PROMETHEUS_OWN = {"job", "instance"}
GRID = 24

Duration = Annotated[str, Field(pattern=r"^\d+[smhd]$")]


class Strict(BaseModel):
    """What these files use of Prometheus's format; a key that is not in it is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Annotations(Strict):
    """What whoever is called at night reads."""

    summary: Annotated[str, Field(min_length=10)]
    remedy: Annotated[str, Field(min_length=10)]


class Labels(Strict):
    """How urgent it is."""

    severity: Literal["page", "ticket"]


class Rule(Strict):
    """One alert."""

    alert: Annotated[str, Field(pattern=r"^Ragstream[A-Z]\w+$")]
    expr: str
    for_: Annotated[Duration | None, Field(alias="for")] = None
    labels: Labels
    annotations: Annotations


class Group(Strict):
    """Rules that are evaluated together."""

    name: str
    rules: list[Rule]


class RuleFile(Strict):
    """The file."""

    groups: list[Group]


def rules() -> dict[str, Rule]:
    found = [rule for group in RuleFile.model_validate(yaml.safe_load(ALERTS)).groups for rule in group.rules]
    assert len({rule.alert for rule in found}) == len(found)
    return {rule.alert: rule for rule in found}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = DASHBOARD["panels"]
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """Every query, with the alert or panel that asks it."""
    for name, rule in rules().items():
        yield name, rule.expr
    for panel in panels():
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"]


EXPRESSIONS = list(expressions())


@pytest.fixture(scope="module")
def known() -> dict[str, Described]:
    """What a query may name: of a histogram its three series."""
    found: dict[str, Described] = {}
    for name, described in registered_metrics().items():
        if described.kind == "histogram":
            found |= {name + suffix: Described("counter", (*described.labels, *own)) for suffix, own in SUFFIXES.items()}
        else:
            found[name] = described
    return found


def without_texts(expr: str) -> str:
    return re.sub(r'"[^"]*"', '""', expr)


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS)
def test_every_metric_exists(where: str, expr: str, known: dict[str, Described]) -> None:
    """As a series that Prometheus really gets: a counter ends in _total, a histogram has no series of its bare name."""
    named = re.findall(r"\brag_\w+", without_texts(expr))
    assert named or "up{" in expr, where
    assert [name for name in named if name not in known] == []


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS)
def test_every_label_belongs_to_its_metrics(where: str, expr: str, known: dict[str, Described]) -> None:
    """A misspelt one would never match, and never say so."""
    text = without_texts(expr)
    for name, matchers in re.findall(r"\b(rag_\w+)\{([^}]*)\}", text):
        assert set(re.findall(r"(\w+)\s*=", matchers)) <= {*known[name].labels, *PROMETHEUS_OWN}, where
    labels = {label for name in re.findall(r"\brag_\w+", text) for label in known[name].labels} | PROMETHEUS_OWN
    assert {label for by in re.findall(r"\bby \(([^)]*)\)", text) for label in re.findall(r"\w+", by)} <= labels, where


@pytest.mark.parametrize(("where", "expr"), EXPRESSIONS)
def test_counters_are_read_as_rates_and_gauges_are_not(where: str, expr: str, known: dict[str, Described]) -> None:
    """The sum of a counter says how long a process has run."""
    for function, name in re.findall(r"\b(rate|increase)\((rag_\w+)", expr):
        assert known[name].kind == "counter", (where, function)
    for function, name in re.findall(r"\b(deriv|changes|predict_linear|min_over_time)\((rag_\w+)", expr):
        assert known[name].kind == "gauge", (where, function)
    assert expr.count("(") == expr.count(")"), where


def test_values_that_are_looked_for_exist() -> None:
    """Outcomes of answers and of events."""
    matched = [found for _, expr in EXPRESSIONS for found in re.findall(r'outcome=~?"([^"]+)"', expr)]
    values = {value for found in matched for value in found.split("|")}
    assert values
    assert values <= {*get_args(Outcome), *EventOutcome}


def test_what_a_summary_shows_is_in_the_alert(known: dict[str, Described]) -> None:
    """Labels of the metrics it comes from; where they are summed up, those that are left."""
    for name, rule in rules().items():
        shown = set(re.findall(r"\$labels\.(\w+)", rule.annotations.summary + rule.annotations.remedy))
        metrics = re.findall(r"\brag_\w+", without_texts(rule.expr))
        labels = {label for metric in metrics for label in known[metric].labels} | PROMETHEUS_OWN
        if "sum" in rule.expr:
            labels = {label for by in re.findall(r"\bby \(([^)]*)\)", rule.expr) for label in re.findall(r"\w+", by)}
        assert shown <= labels, name


@pytest.mark.parametrize(
    ("alert", "threshold"),
    [
        ("RagstreamAccessIsStale", f"> {QuerySettings().max_access_lag_s:g}"),
        ("RagstreamWorkerIsFull", f">= {QuerySettings().concurrency}"),
        ("RagstreamCacheErrs", f"> {CacheSettings().tolerated_error:g}"),
        ("RagstreamAnswersAreSlow", f"> {QuerySettings().deadline_s / 2:g}"),
    ],
)
def test_thresholds_fit_the_settings(alert: str, threshold: str) -> None:
    """Those that follow from a default move with it."""
    assert rules()[alert].expr.endswith(threshold)


def test_ports_and_times_in_words_are_the_code_s() -> None:
    """What the head of the file shows to be copied, and what summaries tell."""
    ports = ObservabilitySettings()
    assert f"ingest:{ports.ingest_port}" in ALERTS
    assert f"serve-1:{ports.query_port}" in ALERTS
    assert QUERY_RETENTION_MS == 3_600_000
    jobs = set(re.findall(r"job_name: (\S+)", ALERTS))
    assert {job for _, expr in EXPRESSIONS for job in re.findall(r'job="([^"]+)"', expr)} == jobs


def test_every_promise_has_its_alert() -> None:
    """What an operator wants to be woken for."""
    text = " ".join(rule.expr for rule in rules().values())
    for metric in (
        "rag_view_lag_seconds",
        "rag_view_access_lag_seconds",
        "rag_query_canary_violations_total",
        "rag_ingest_position",
        "rag_ingest_log_start",
        "rag_ingest_dead_letters_total",
        "rag_ingest_express_lane_up",
        "rag_query_cache_error_ratio_low",
        "rag_query_model_breaker_state",
    ):
        assert metric in text


def test_the_dashboard_can_be_imported() -> None:
    """Ids are its own, panels lie beside one another, and the data source is asked for."""
    ids = [panel["id"] for panel in panels()]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= GRID
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not taken & cells, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource"]


def test_the_page_for_operators_names_both() -> None:
    """Nobody looks for what nothing leads to."""
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in ("alerts.yaml", "dashboard.json"):
        assert f"(../deploy/{name})" in page
