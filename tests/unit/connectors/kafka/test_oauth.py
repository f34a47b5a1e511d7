"""Tokens for the Faust side come from the endpoint, once for many connections."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from connectors.kafka.oauth import token_provider
from schemas.errors import Misconfigured, Retryable


class _Endpoint(BaseHTTPRequestHandler):
    """Answers with a token that says how many were given before."""

    forms: list[dict[str, list[str]]]
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.forms.append(parse_qs(body))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps({"access_token": f"token-{len(self.forms)}", "expires_in": 300}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[tuple[str, type[_Endpoint]]]:
    """A token endpoint on 127.0.0.1 and what it was asked."""
    handler = type("Endpoint", (_Endpoint,), {"forms": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/token", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_token_is_fetched_once_while_it_is_good(endpoint: tuple[str, type[_Endpoint]]) -> None:
    """Every new connection asks; the endpoint is asked once."""
    url, handler = endpoint
    provider = token_provider(url, "me", "secret", "kafka")

    async def twice() -> list[str]:
        return [await provider.token(), await provider.token()]

    assert asyncio.run(twice()) == ["token-1", "token-1"]
    assert handler.forms == [{"grant_type": ["client_credentials"], "scope": ["kafka"]}]


def test_an_endpoint_that_fails_is_named(endpoint: tuple[str, type[_Endpoint]]) -> None:
    """The error can be retried and says where no token came from."""
    url, handler = endpoint
    handler.status = 503
    with pytest.raises(Retryable, match="OAUTH_TOKEN_ENDPOINT=http://127"):
        asyncio.run(token_provider(url, "me", "secret", None).token())


def test_only_http_endpoints_are_taken() -> None:
    """A file address would read this machine's files."""
    with pytest.raises(Misconfigured, match="file:///etc/passwd"):
        token_provider("file:///etc/passwd", "me", "secret", None)
