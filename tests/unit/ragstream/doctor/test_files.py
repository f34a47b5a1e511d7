"""Files that operators write, and the token issuer's keys: as the query worker would read them, with what to mend."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from query_api.identity.api_keys import append_entry, new_key
from ragstream.doctor.files import check_api_keys, check_prompt, check_routes, check_token_issuer
from ragstream.doctor.finding import Finding
from schemas.settings import Settings
from tests.unit.query_api.identity.tokens import Issuer
from tests.unit.ragstream.doctor.endpoints import serving

PROMPT = (
    "{% block system %}Answer.{% endblock %}"
    "{% block user %}{{ question }}{% for p in passages %} {{ p.text }}{% endfor %}{% endblock %}"
)


def only(findings: Iterator[Finding]) -> Finding:
    """The one that there is."""
    [found] = findings
    return found


def test_what_is_not_configured_is_not_looked_for() -> None:
    """No line at all."""
    for check in (check_routes, check_prompt, check_api_keys, check_token_issuer):
        assert list(check(Settings())) == []


def test_routes(tmp_path: Path) -> None:
    """Read, or refused with the line."""
    path = tmp_path / "routes.yaml"
    settings = Settings.model_validate({"query": {"routes_file": path}})
    path.write_text("routes:\n  cards:\n    indexes: [docs]\n    examples: ['How do I freeze my card?']\n")
    assert only(check_routes(settings)).ok
    path.write_text("routes:\n  cards:\n    indexes: [nowhere]\n    examples: ['How do I freeze my card?']\n")
    found = only(check_routes(settings))
    assert not found.ok
    assert "nowhere" in found.detail and "line 3" in found.detail
    path.unlink()
    assert not only(check_routes(settings)).ok


def test_a_prompt(tmp_path: Path) -> None:
    """Really rendered; whoever has no model is told that it is for nothing."""
    path = tmp_path / "prompt.jinja"
    path.write_text(PROMPT)
    settings = Settings.model_validate({"llm": {"kind": "openai", "prompt_file": path}})
    assert only(check_prompt(settings)) == Finding(f"prompt {path}", True, "renders")
    assert "no language model" in only(check_prompt(Settings.model_validate({"llm": {"prompt_file": path}}))).detail
    path.write_text(PROMPT.replace("{{ p.text }}", "{{ p.txt }}"))
    found = only(check_prompt(settings))
    assert not found.ok
    assert "RAG_LLM__PROMPT_FILE" in found.detail


def test_api_keys(tmp_path: Path) -> None:
    """Counted, with those that expired; no key and no hash is shown."""
    path = tmp_path / "keys.yaml"
    settings = Settings.model_validate({"auth": {"api_keys_file": path}})
    assert not only(check_api_keys(settings)).ok
    for expires in (None, datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)):
        append_entry(path, new_key(["user:maya"], ["ask"], expires=expires).entry)
    assert only(check_api_keys(settings)) == Finding(f"API keys {path}", True, "3 keys, expired: 1")
    path.write_text(path.read_text().replace("sha256", "sha512"))
    found = only(check_api_keys(settings))
    assert not found.ok
    assert "sha512" in found.detail


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """With keys of three kinds."""
    return Issuer()


def token_settings(issuer: Issuer, **over: object) -> Settings:
    """Tokens of this issuer are taken."""
    return Settings(auth=issuer.settings.model_copy(update=over))


def test_an_issuer_s_keys_are_fetched(issuer: Issuer) -> None:
    """Once, and counted."""
    with serving(body=issuer.key_set()) as url:
        found = only(check_token_issuer(token_settings(issuer, jwks_url=url)))
    assert found.ok, found
    assert found.detail.startswith("3 keys for RS256")


def test_an_issuer_whose_keys_can_t_be_had_is_a_finding(issuer: Issuer) -> None:
    """Away, refusing, or sending something else."""
    assert not only(check_token_issuer(token_settings(issuer, jwks_url="http://127.0.0.1:1/keys"))).ok
    for status, body in ((500, b""), (200, b"<html>"), (302, b"")):
        with serving(status, body) as url:
            found = only(check_token_issuer(token_settings(issuer, jwks_url=url)))
        assert not found.ok
        assert "RAG_AUTH__JWKS_" in found.remedy


def test_an_issuer_that_hangs_costs_what_it_may(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the rest of the day."""
    monkeypatch.setattr("query_api.identity.key_sets.FETCH_TIMEOUT_S", 0.2)
    with serving(hangs=True) as url:
        assert not only(check_token_issuer(token_settings(issuer, jwks_url=url))).ok


def test_an_issuer_s_keys_in_a_file(issuer: Issuer, tmp_path: Path) -> None:
    """There, gone, or for other algorithms than are taken."""
    path = tmp_path / "keys.json"
    settings = token_settings(issuer, jwks_url=None, jwks_file=path, jwt_algorithms=("ES256",))
    assert not only(check_token_issuer(settings)).ok
    path.write_bytes(issuer.key_set())
    assert only(check_token_issuer(settings)).detail == "1 key for ES256"
    path.write_bytes(issuer.key_set(issuer.rsa))
    found = only(check_token_issuer(settings))
    assert not found.ok
    assert "RAG_AUTH__JWT_ALGORITHMS" in found.remedy


@pytest.mark.parametrize(
    "auth",
    [
        pytest.param({"jwks_url": "https://x/keys"}, id="keys-of-nobody"),
        pytest.param({"require_signed_queries": True}, id="signed-by-nobody"),
        pytest.param({"jwt_issuer": "https://x", "jwks_url": "https://x/keys"}, id="for-anybody"),
        pytest.param({"jwt_issuer": "https://x", "jwt_audience": "y"}, id="without-keys"),
        pytest.param({"jwt_issuer": "https://x", "jwt_audience": "y", "jwks_url": "ftp://x"}, id="no-address"),
    ],
)
def test_settings_that_take_no_token_are_a_finding(auth: dict[str, object]) -> None:
    """Before anybody wonders."""
    assert not only(check_token_issuer(Settings.model_validate({"auth": auth}))).ok
