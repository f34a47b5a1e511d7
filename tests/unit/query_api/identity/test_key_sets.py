"""The issuer's keys over HTTP: fetched, rotated, kept through an outage; a real issuer's server on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from joserfc.jwk import RSAKey

from query_api.identity import ANONYMOUS, Authenticator, BadCredentials, KeysUnavailable
from query_api.identity.key_sets import KeySetUrl
from schemas.errors import Misconfigured
from schemas.settings import AuthSettings
from tests.unit.query_api.identity.tokens import Issuer
from tests.waiting import wait_until


class Keys:
    """The issuer's endpoint; `body` is what it answers with, None: 500."""

    def __init__(self) -> None:
        self.issuer = Issuer()
        self.body: bytes | None = self.issuer.key_set()
        self.fetched = 0
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.fetched += 1
                self.send_response(200 if owner.body is not None else 500)
                self.send_header("Content-Length", str(len(owner.body or b"")))
                self.end_headers()
                self.wfile.write(owner.body or b"")

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def settings(self, **over: object) -> AuthSettings:
        return self.issuer.settings.model_copy(update={"jwks_url": self.url, **over})


@pytest.fixture
def keys() -> Iterator[Keys]:
    made = Keys()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def authenticator(keys: Keys) -> Iterator[Authenticator]:
    made = Authenticator(keys.settings())
    source = made._token_keys = KeySetUrl(keys.url, 300, retry_s=0.05)
    made.start()
    wait_until(lambda: source._keys, within_s=5, what="the first keys")
    yield made
    made.close()


def test_a_new_key_is_fetched_when_a_token_names_it(keys: Keys, authenticator: Authenticator) -> None:
    """The token that names it first is waited for."""
    assert asyncio.run(authenticator.identify(f"Bearer {keys.issuer.token()}")).by == "token"
    new = RSAKey.generate_key(2048, {"kid": "new"})
    keys.body = keys.issuer.key_set(keys.issuer.rsa, new)
    token = keys.issuer.token(key=new)

    def is_known() -> bool:
        try:
            return asyncio.run(authenticator.identify(f"Bearer {token}")).by == "token"
        except BadCredentials:
            return False  # asked again too soon

    wait_until(is_known, within_s=5, what="the new key")


def test_invented_key_ids_do_not_flood_the_issuer(keys: Keys) -> None:
    """One more fetch a while, however many tokens come."""
    source = KeySetUrl(keys.url, 300, retry_s=60)
    source.start()
    wait_until(lambda: keys.fetched == 1 and source.ask_again() is None, within_s=20, what="the first fetch")
    assert [source.ask_again() for _ in range(100)] == [None] * 100
    source.close()
    assert keys.fetched == 1


def test_the_last_keys_stay_while_the_issuer_is_away(keys: Keys, authenticator: Authenticator) -> None:
    """Errors, garbage and too much change nothing."""
    token = keys.issuer.token()
    assert asyncio.run(authenticator.identify(f"Bearer {token}")).by == "token"
    for body in (None, b"garbage", b" " * 2**21):
        keys.body = body
        source = authenticator._token_keys
        assert source is not None
        asked = source.ask_again
        fetched = wait_until(asked, within_s=5, what="a fetch")
        assert fetched is not None
        fetched.result(5)
        assert asyncio.run(authenticator.identify(f"Bearer {token}")).principals == ("group:hr", "user:maya")


def test_keys_never_fetched_are_an_outage_not_a_refusal(keys: Keys) -> None:
    """The caller is told to come again."""
    keys.body = None
    made = Authenticator(keys.settings())
    made.start()
    try:
        with pytest.raises(KeysUnavailable):
            asyncio.run(made.identify(f"Bearer {keys.issuer.token()}"))
    finally:
        made.close()


def test_a_token_shows_who_asks_and_a_forgery_nobody(keys: Keys, authenticator: Authenticator) -> None:
    """Nor do no token at all and a key that nobody was given."""
    assert asyncio.run(authenticator.identify(f"Bearer {keys.issuer.token()}")).principals == ("group:hr", "user:maya")
    for token in ("", "rsk_0_0", keys.issuer.token(key=RSAKey.generate_key(2048, {"kid": "rsa"}))):
        with pytest.raises(BadCredentials):
            asyncio.run(authenticator.identify(f"Bearer {token}"))


def test_no_header_is_anonymous_where_that_may_ask() -> None:
    """And refused where it may not; an empty header is not no header."""
    assert asyncio.run(Authenticator(AuthSettings()).identify(None)) is ANONYMOUS
    with pytest.raises(BadCredentials):
        asyncio.run(Authenticator(AuthSettings(anonymous_may_ask=False)).identify(None))
    with pytest.raises(BadCredentials):
        asyncio.run(Authenticator(AuthSettings()).identify(""))


def test_settings_name_one_place_for_keys(keys: Keys) -> None:
    """Neither none nor two; signed queries need an issuer."""
    for over in ({"jwks_url": None}, {"jwks_url": "ftp://x"}, {"jwks_file": "x"}):
        with pytest.raises(Misconfigured, match="JWKS"):
            Authenticator(keys.settings(**over))
    with pytest.raises(Misconfigured, match="REQUIRE_SIGNED_QUERIES"):
        Authenticator(AuthSettings(require_signed_queries=True))
