"""Names that requests may come by, and pages that may read answers."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from query_api.http.hosts import name_of
from schemas.settings import HttpSettings
from tests.unit.query_api.http.serving import Scripted, Site
from tests.unit.query_api.http.test_answers import ASK

PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


def status_by(site: Site, host: str) -> int:
    return site.post("/v1/answers", ASK, headers={"Host": host}).status_code


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "app.localhost."])
def test_this_machine_s_own_names_are_taken(tmp_path: Path, host: str) -> None:
    """With any port, on loopback and off it."""
    assert status_by(Site(tmp_path, Scripted("x")), host) == 200
    assert status_by(Site(tmp_path, Scripted("x"), http={"host": "0.0.0.0", "allowed_hosts": ["rag.example"]}), host) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "", "[evil]"])
def test_another_name_is_refused_on_loopback(tmp_path: Path, host: str) -> None:
    """A page that had its name lead here reads a problem, and nothing else; the pipeline is not asked, whatever the route."""
    pipeline = Scripted("x")
    site = Site(tmp_path, pipeline)
    refused = site.post("/v1/answers", ASK, headers={"Host": host, "X-Request-ID": "mine"})
    assert (refused.status_code, refused.headers["content-type"]) == (421, "application/problem+json")
    assert (refused.json()["code"], refused.json()["request_id"]) == ("host_not_allowed", "mine")
    assert "RAG_HTTP__ALLOWED_HOSTS" in refused.json()["remedy"]
    assert "error" in site.call("GET", "/v1/models", headers={"Host": host}).json()
    assert {site.call("GET", path, headers={"Host": host}).status_code for path in ("/openapi.json", "/readyz", "/none")} == {421}
    assert not pipeline.asked


def test_a_server_for_others_is_known_by_any_name_but_where_they_are_named(tmp_path: Path) -> None:
    """One address may have many names."""
    assert status_by(Site(tmp_path, Scripted("x"), http={"host": "0.0.0.0"}), "anything.example") == 200
    named = Site(tmp_path, Scripted("x"), http={"host": "0.0.0.0", "allowed_hosts": ["rag.example", "*.inside.example"]})
    taken = {"rag.example": 200, "RAG.example:443": 200, "a.b.inside.example": 200, "inside.example": 421, "x.rag.example": 421}
    assert {host: status_by(named, host) for host in taken} == taken
    assert status_by(Site(tmp_path, Scripted("x"), http={"allowed_hosts": ["*"]}), "proxied.example") == 200


def test_no_page_reads_answers_unless_it_is_named(tmp_path: Path) -> None:
    """A browser asks before it sends JSON, and keeps the answer from a page that isn't told it may."""
    site = Site(tmp_path, Scripted("x"))
    assert site.call("OPTIONS", "/v1/answers", headers={"Origin": "https://chat.example", **PREFLIGHT}).status_code == 405
    told = site.post("/v1/answers", ASK, headers={"Origin": "https://chat.example"})
    assert "access-control-allow-origin" not in told.headers


def test_a_named_page_reads_answers_streams_and_errors(tmp_path: Path) -> None:
    """Another one does not; cookies are never asked for."""
    site = Site(tmp_path, Scripted("x"), http={"cors_origins": ["https://chat.example"]})
    for origin, is_allowed in (("https://chat.example", True), ("https://chat.example.evil", False), ("null", False)):
        before = site.call("OPTIONS", "/v1/answers", headers={"Origin": origin, **PREFLIGHT})
        assert (before.status_code == 200) is is_allowed
        for body in (ASK, {**ASK, "stream": True}, {"nonsense": 1}):
            told = site.post("/v1/answers", body, headers={"Origin": origin})
            assert (told.headers.get("access-control-allow-origin") == origin) is is_allowed
            assert "access-control-allow-credentials" not in told.headers
            assert told.headers["vary"] == "Origin"


@pytest.mark.parametrize("field", ["allowed_hosts", "cors_origins"])
@pytest.mark.parametrize("value", ["", "http://", "a b", "rag.example/path", "x.*", "*.", "https://a\nb"])
def test_what_could_never_match_is_refused_at_the_start(field: str, value: str) -> None:
    """It would be taken for a typo's opposite: everything is closed, and nobody knows why."""
    with pytest.raises(ValidationError):
        HttpSettings(**{field: [value]})


def test_a_name_is_what_stands_before_the_port() -> None:
    """Addresses of version 6 have colons of their own."""
    names = {"a:1": "a", "A.": "a", "[::1]:80": "::1", "[2001:DB8::1]": "2001:db8::1", "": ""}
    assert {host: name_of(host) for host in names} == names
