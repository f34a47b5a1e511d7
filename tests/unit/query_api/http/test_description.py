"""The OpenAPI description holds: requests made from it, good and bad, get responses that it describes and never a 500."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from query_api.http import HttpApp
from tests.unit.query_api.http.serving import Scripted, Site

CHECKED: list[Any] = [status_code_conformance, content_type_conformance, response_schema_conformance, unsupported_method]
OPERATIONS = [
    "POST /v1/answers",
    "POST /v1/search",
    "POST /v1/chat/completions",
    "GET /v1/models",
    "GET /v1/models/{model}",
    "POST /v1/documents",
    "POST /v1/feedback",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), Scripted("x"), http={"allowed_hosts": ["*"]})


@pytest.fixture(scope="module")
def operations(site: Site) -> Iterator[dict[str, Any]]:
    app = HttpApp(site.settings, site.ports)
    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app.asgi)
    yield {operation.label: operation for operation in (result.ok() for result in schema.get_all_operations())}
    app.close()


def test_every_route_is_tried(operations: dict[str, Any]) -> None:
    """A new route is not forgotten here."""
    assert sorted(operations) == sorted(OPERATIONS)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "mode"),
    [
        *((name, GenerationMode.POSITIVE) for name in OPERATIONS),
        *((name, GenerationMode.NEGATIVE) for name in OPERATIONS if name.startswith("POST")),
    ],
)
def test_a_route_answers_as_described(site: Site, operations: dict[str, Any], name: str, mode: GenerationMode) -> None:
    """Any request, of an operator: a described status, media type and shape."""
    operation = operations[name]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def tried(case: Any) -> None:
        response = case.call(headers={"Authorization": f"Bearer {site.operator.key}"})
        assert response.status_code != 500
        case.validate_response(response, checks=CHECKED)

    tried()
