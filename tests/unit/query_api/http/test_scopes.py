"""Every route and every kind of caller: who gets what."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from query_api.identity.api_keys import NewKey, new_key
from tests.unit.query_api.http.serving import Scripted, Site
from tests.unit.query_api.http.test_answers import ASK
from tests.unit.query_api.http.test_description import OPERATIONS

CALLERS = ("anonymous", "ask", "publish:docs", "publish:hr", "publish", "operate", "unknown")
CHAT = {"messages": [{"role": "user", "content": "x"}]}
CHANGE = {"op": "delete", "doc_id": "a"}

ASKERS: dict[str, int] = {"anonymous": 200, "ask": 200, "operate": 200, "unknown": 401}
EXPECTED: dict[str, tuple[Any, dict[str, int]]] = {
    "POST /v1/answers": (ASK, ASKERS),
    "POST /v1/search": (ASK, ASKERS),
    "POST /v1/chat/completions": (CHAT, ASKERS),
    "GET /v1/models": (None, ASKERS),
    "GET /v1/models/{model}": (None, ASKERS),
    "POST /v1/feedback": ({"query_id": "q", "rating": "up"}, {**ASKERS, "anonymous": 202, "ask": 202, "operate": 202}),
    "POST /v1/documents": (CHANGE, {"anonymous": 401, "publish:docs": 200, "publish": 200, "unknown": 401}),
    "GET /metrics": (None, {"anonymous": 401, "operate": 200, "unknown": 401}),
    "GET /healthz": (None, dict.fromkeys(CALLERS, 200)),
    "GET /readyz": (None, dict.fromkeys(CALLERS, 200)),
}
"""Body, and status by caller: 403 where it isn't said."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("site"), Scripted("x"))


@pytest.fixture(scope="module")
def keys(site: Site) -> dict[str, NewKey | None]:
    known: dict[str, NewKey | None] = {name: new_key(["user:x"], [name]) for name in CALLERS[1:-1]}
    site.write_keys(*(key for key in known.values() if key is not None))
    return {"anonymous": None, **known, "unknown": new_key(["user:x"], ["operate", "publish"])}


def test_every_route_is_in_the_table() -> None:
    """A new one is not forgotten."""
    assert sorted(EXPECTED) == sorted(OPERATIONS)


@pytest.mark.parametrize("operation", EXPECTED)
@pytest.mark.parametrize("caller", CALLERS)
def test_a_scope_opens_its_routes_and_no_other(site: Site, keys: dict[str, NewKey | None], operation: str, caller: str) -> None:
    """What is refused reaches nothing behind the routes."""
    body, expected = EXPECTED[operation]
    method, path = operation.split(" ")
    before = len(site.sinks.changes) + len(site.sinks.given) + len(site.ports.pipeline.asked)  # type: ignore[attr-defined]
    more = {} if body is None else {"json": body}
    response = site.call(method, path.replace("{model}", "ragstream"), keys[caller], **more)
    assert response.status_code == expected.get(caller, 403)
    after = len(site.sinks.changes) + len(site.sinks.given) + len(site.ports.pipeline.asked)  # type: ignore[attr-defined]
    assert after == before or response.is_success


def test_anonymous_is_refused_where_the_operator_says_so(tmp_path: Path) -> None:
    """On every route that asks; how the process is stays open."""
    site = Site(tmp_path, Scripted("x"), auth={"anonymous_may_ask": False})
    for operation, (body, expected) in EXPECTED.items():
        method, path = operation.split(" ")
        more = {} if body is None else {"json": body}
        status = site.call(method, path.replace("{model}", "ragstream"), **more).status_code
        assert status == (200 if expected["anonymous"] == expected["unknown"] == 200 else 401), operation
