"""OAuth tokens for the Faust side (OIDC client credentials). librdkafka fetches its own."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Final

from aiokafka.abc import AbstractTokenProvider

from schemas.errors import Misconfigured, Retryable

REQUEST_TIMEOUT_S: Final = 10.0
RENEW_BEFORE_EXPIRY_S: Final = 30.0
LIFETIME_WHEN_UNSAID_S: Final = 60.0


def token_provider(endpoint: str, client_id: str, secret: str, scope: str | None) -> ClientCredentials:
    """What `faust.auth.OAuthCredentials(oauth_cb=…)` takes. Raises: Misconfigured for an endpoint that isn't http(s)."""
    if urllib.parse.urlsplit(endpoint).scheme not in ("http", "https"):
        msg = f"RAG_KAFKA__OAUTH_TOKEN_ENDPOINT={endpoint}: an http(s) address is needed"
        raise Misconfigured(msg)
    return ClientCredentials(endpoint, client_id, secret, scope)


class ClientCredentials(AbstractTokenProvider):  # type: ignore[misc]
    """Fetches a token when a connection needs one, and keeps it until shortly before it expires."""

    def __init__(self, endpoint: str, client_id: str, secret: str, scope: str | None) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._login = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._form = urllib.parse.urlencode(form).encode()
        self._token = ""
        self._good_until = 0.0

    async def token(self) -> str:
        """A token that is good for now. Raises: Retryable when the endpoint gives none."""
        if time.monotonic() >= self._good_until:
            self._token, lifetime_s = await asyncio.to_thread(self._fetch)
            self._good_until = time.monotonic() + max(0.0, lifetime_s - RENEW_BEFORE_EXPIRY_S)
        return self._token

    def _fetch(self) -> tuple[str, float]:
        headers = {"Authorization": f"Basic {self._login}", "Accept": "application/json"}
        request = urllib.request.Request(self._endpoint, self._form, headers)
        try:
            with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as response:
                answer = json.load(response)
            return str(answer["access_token"]), float(answer.get("expires_in", LIFETIME_WHEN_UNSAID_S))
        except (OSError, ValueError, KeyError) as exc:
            if isinstance(exc, urllib.error.HTTPError):
                exc.close()
            msg = f"no token from RAG_KAFKA__OAUTH_TOKEN_ENDPOINT={self._endpoint}: {exc!r}"
            raise Retryable(msg) from exc
