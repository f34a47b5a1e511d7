"""From a request's `Authorization`, or a Kafka message's token, to who asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog

from query_api.identity.api_keys import identify_key, looks_like_key
from query_api.identity.errors import BadCredentials
from query_api.identity.identity import ANONYMOUS, Identity
from query_api.identity.key_file import KeyFile
from query_api.identity.key_sets import KeySetFile, KeySetUrl, KeySource
from query_api.identity.signed_tokens import TokenReader, UnknownKeyId
from schemas.errors import Misconfigured
from schemas.settings import AuthSettings

KEY_WAIT_S: Final = 2.0
"""How long a token with an unknown key id waits for the issuer's present keys."""

_log = structlog.get_logger(__name__)


class Authenticator:
    """Knows the API keys and the token issuer that settings name. Thread-safe.

    Raises: Misconfigured when made, for a wrong setting or key file.
    """

    def __init__(self, settings: AuthSettings, now_s: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._now_s = now_s
        self._key_file = KeyFile(settings.api_keys_file) if settings.api_keys_file is not None else None
        self._tokens: TokenReader | None = None
        self._token_keys: KeySource | None = None
        if settings.jwt_issuer:
            self._tokens = TokenReader(settings)
            self._token_keys = key_source(settings)
        elif settings.require_signed_queries:
            msg = "RAG_AUTH__REQUIRE_SIGNED_QUERIES needs RAG_AUTH__JWT_ISSUER: there is nobody whose tokens could be checked"
            raise Misconfigured(msg)

    def start(self) -> None:
        """Begin to fetch the issuer's keys. Raises: Misconfigured."""
        if self._token_keys is not None:
            self._token_keys.start()

    def close(self) -> None:
        """Never raises."""
        if self._token_keys is not None:
            self._token_keys.close()

    async def identify(self, authorization: str | None) -> Identity:
        """Who sends this header; None: no header, anonymous. A token with a new key id waits for the keys, briefly.

        Raises: BadCredentials, KeysUnavailable. Never falls back to anonymous.
        """
        if authorization is None:
            if not self._settings.anonymous_may_ask:
                reason = "credentials_required"
                raise BadCredentials(reason, "nobody is answered here without credentials")
            return ANONYMOUS
        credential = _bearer(authorization)
        try:
            return self._identity(credential)
        except UnknownKeyId as exc:
            fetched = self._token_keys.ask_again() if self._token_keys is not None else None
            if fetched is None:
                raise BadCredentials(exc.reason, exc.detail) from exc
            # Waited for, never cancelled: others wait for the same fetch.
            await asyncio.wait([asyncio.wrap_future(fetched)], timeout=KEY_WAIT_S)
            return self._identity(credential)

    def _identity(self, credential: str) -> Identity:
        if looks_like_key(credential):
            entries = self._key_file.entries if self._key_file is not None else {}
            return identify_key(credential, entries, datetime.fromtimestamp(self._now_s(), UTC))
        if self._tokens is None or self._token_keys is None:
            reason = "invalid_credentials"
            raise BadCredentials(reason, "the credentials are neither an API key nor a token that is taken here")
        return self._tokens.identity(credential, self._token_keys.keys, self._now_s())


def _bearer(authorization: str) -> str:
    scheme, _, credential = authorization.strip().partition(" ")
    if scheme.lower() != "bearer" or not credential.strip() or not credential.isascii():
        reason = "invalid_credentials"
        raise BadCredentials(reason, "the header Authorization must be `Bearer` and an API key or a token; without it: anonymous")
    return credential.strip()


def key_source(settings: AuthSettings) -> KeySource:
    """Where the issuer's keys come from; nothing is read yet. Raises: Misconfigured."""
    if (settings.jwks_url is None) == (settings.jwks_file is None):
        msg = "tokens need one of RAG_AUTH__JWKS_URL and RAG_AUTH__JWKS_FILE: where the issuer's keys are"
        raise Misconfigured(msg)
    if settings.jwks_file is not None:
        return KeySetFile(settings.jwks_file)
    return KeySetUrl(str(settings.jwks_url), settings.jwks_refresh_s)
