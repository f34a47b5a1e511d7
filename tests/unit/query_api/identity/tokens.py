"""An issuer of tokens for tests: keys, and tokens signed as a test wants them."""

from __future__ import annotations

import base64
import time
from typing import Any

import orjson
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry

from schemas.settings import AuthSettings

ISSUER = "https://issuer.example"
AUDIENCE = "ragstream"


class Issuer:
    """Three keys; `token` signs what a good token holds, with changes."""

    def __init__(self) -> None:
        self.rsa = RSAKey.generate_key(2048, {"kid": "rsa"})
        self.ec = ECKey.generate_key("P-256", {"kid": "ec"})
        self.ed = OKPKey.generate_key("Ed25519", {"kid": "ed"})
        self.settings = AuthSettings(
            jwt_issuer=ISSUER, jwt_audience=AUDIENCE, jwt_algorithms=("RS256", "ES256", "EdDSA", "Ed25519"), jwks_url="http://x/"
        )

    def key_set(self, *keys: Any) -> bytes:
        return orjson.dumps(KeySet(list(keys or (self.rsa, self.ec, self.ed))).as_dict(private=False))

    def claims(self, **over: Any) -> dict[str, Any]:
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "maya", "exp": now + 300, "groups": ["hr"], "scope": "openid ask"}
        return {name: value for name, value in (claims | over).items() if value is not None}

    def token(self, *, alg: str = "RS256", key: Any = None, header: dict[str, Any] | None = None, **over: Any) -> str:
        key = key or {"RS256": self.rsa, "ES256": self.ec, "Ed25519": self.ed}[alg]
        registry = JWSRegistry(algorithms=[alg], strict_check_header=False)
        head = {"alg": alg, "kid": key.kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return jwt.encode(head, self.claims(**over), key, algorithms=[alg], registry=registry)


def by_hand(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token that no library would make."""
    parts = (orjson.dumps(header), orjson.dumps(claims), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
