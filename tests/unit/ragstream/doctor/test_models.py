"""Models that settings name beside the encoder: found, or not, with what to do; nothing is asked of what isn't configured."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from connectors.llm import Endpoint, has_model
from ragstream.doctor.models import check_endpoint, check_language_model, check_reranker
from schemas.settings import Settings
from tests.unit.ragstream.doctor.endpoints import serving


def settings(**llm: object) -> Settings:
    """With a language model."""
    return Settings.model_validate({"llm": {"kind": "openai", "model": "writer", **llm}})


def listing(*names: str) -> bytes:
    """What an endpoint answers that has these models."""
    models = [{"id": name, "object": "model", "created": 1, "owned_by": "me"} for name in names]
    return json.dumps({"object": "list", "data": models}).encode()


def test_what_is_not_configured_is_not_looked_for() -> None:
    """No line at all."""
    assert list(check_language_model(Settings())) == []
    assert list(check_reranker(Settings())) == []


def test_an_endpoint_that_lists_the_model_is_well() -> None:
    """Which it is, without its credentials."""
    with serving(body=listing("reader", "writer")) as url:
        [found] = check_language_model(settings(base_url=url.replace("//", "//me:hunter2@")))
    assert found.ok, found
    assert (found.part, "lists it" in found.detail, "hunter2" in found.detail) == ("language model writer (primary)", True, False)


def test_a_model_that_is_not_listed_is_a_finding() -> None:
    """With those that there are; what comes from outside is shown harmless and short."""
    names = [f"model-{n:02}" for n in range(12)]
    with serving(body=listing("\x1b[31mred", "x" * 500, *names)) as url:
        [found] = check_language_model(settings(base_url=url))
    assert not found.ok
    assert "model-00, model-01" in found.detail
    assert "and 6 more" in found.detail
    assert found.detail.isprintable()
    assert "RAG_LLM__MODEL" in found.remedy
    assert len(found.detail) < 400


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        pytest.param(401, b'{"error": {"message": "no", "code": "invalid_api_key"}}', "401 (invalid_api_key)", id="key-refused"),
        pytest.param(500, b"{}", "500", id="broken"),
        pytest.param(200, b"<html>a login page</html>", "sent what is no", id="no-json"),
        pytest.param(200, b'{"data": 7}', "sent what is no list of models", id="no-list"),
    ],
)
def test_an_endpoint_that_does_not_serve_is_a_finding(status: int, body: bytes, said: str) -> None:
    """In its own codes, never its prose."""
    with serving(status, body) as url:
        [found] = check_language_model(settings(base_url=url))
    assert (found.ok, said in found.detail) == (False, True), found
    assert "RAG_LLM__BASE_URL and RAG_LLM__API_KEY" in found.remedy


def test_an_endpoint_that_keeps_no_list_is_no_fault() -> None:
    """Some only answer questions."""
    with serving(404) as url:
        [found] = check_language_model(settings(base_url=url))
    assert found.ok
    assert "no list" in found.detail


def test_an_endpoint_that_is_away_is_a_finding() -> None:
    """Of the one that is; its fallback has a line of its own."""
    with serving(body=listing("spare")) as url:
        first, second = check_language_model(
            settings(base_url="http://127.0.0.1:1", fallback_base_url=url, fallback_model="spare", fallback_api_key="k")
        )
    assert [(found.part, found.ok) for found in (first, second)] == [
        ("language model writer (primary)", False),
        ("language model spare (fallback)", True),
    ]


def test_an_endpoint_that_hangs_costs_what_it_may() -> None:
    """And is a finding."""
    with serving(hangs=True) as url:
        began = time.monotonic()
        found = check_endpoint(Endpoint("fallback", url, "writer"), 0.3)
        took = time.monotonic() - began
    assert not found.ok
    assert "within 0.3 s" in found.detail
    assert "RAG_LLM__FALLBACK_BASE_URL" in found.remedy
    assert took < 10


def test_settings_that_name_no_model_are_a_finding() -> None:
    """As `serve` would refuse them."""
    [found] = check_language_model(settings(model="", base_url="http://127.0.0.1:1"))
    assert not found.ok
    assert "RAG_LLM__MODEL" in found.detail


def test_weights_that_are_not_installed_are_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what installs them; there, with their file."""
    monkeypatch.setattr("connectors.llm.local.WEIGHTS_PACKAGE", "no_such_package_of_ours")
    [found] = check_language_model(settings(kind="local"))
    assert not found.ok
    assert "local-llm" in found.detail


@pytest.mark.parametrize(
    ("listed", "is_there"),
    [
        (("writer",), True),
        (("writer:latest",), True),
        (("models/writer",), True),
        (("wri*",), True),
        (("writer:7b", "a/writer", "Writer", "writer-2"), False),
        ((), False),
    ],
)
def test_endpoints_name_models_in_ways_of_their_own(listed: tuple[str, ...], is_there: bool) -> None:
    """Those under which a model answers to its plain name, too."""
    assert has_model(listed, "writer") is is_there


def test_a_cross_encoder_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    """Nothing is downloaded."""
    for model in (str(tmp_path), ""):
        wanted = Settings.model_validate({"query": {"rerank": "cross-encoder", "rerank_model": model}})
        [found] = check_reranker(wanted)
        assert not found.ok
        assert "RAG_QUERY__RERANK_MODEL" in found.remedy
