"""JSON Web Tokens to identities. Pure: keys and time are handed in.

What a token says of how to check it is not believed: the algorithm must be one of the settings', the key one of the issuer's that
fits it, and `jku`, `jwk` and `x5u` in a header are not looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import orjson
from joserfc import jwt
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError
from joserfc.jwk import JWKRegistry, Key
from joserfc.jws import JWSRegistry
from joserfc.util import to_bytes, urlsafe_b64decode

from query_api.identity.errors import BadCredentials
from query_api.identity.identity import Identity, Scopes, identity_of
from schemas.acl import EVERYONE, is_principal
from schemas.errors import Misconfigured, Rejected
from schemas.queries import MAX_SIGNED_TOKEN
from schemas.settings import AuthSettings

MIN_RSA_BITS: Final = 2048
MAX_KEYS: Final = 200

_FITS: Final[Mapping[str, tuple[str, str | None]]] = {
    **{f"{family}{bits}": ("RSA", None) for family in ("RS", "PS") for bits in (256, 384, 512)},
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""The kind of key and the curve of each algorithm that can be pinned: public keys only, so no secret can pass for one."""


class UnknownKeyId(BadCredentials):
    """The token names a key that the issuer's keys don't hold: perhaps it has new ones."""


class _Pinned(JWSRegistry):
    """Algorithms that the settings name. The library warns of EdDSA's old name, which issuers go on using."""

    def get_alg(self, name: str) -> Any:
        if name not in (self.allowed or ()):
            reason = "invalid_credentials"
            raise BadCredentials(reason, "the token is signed by an algorithm that is not taken here")
        return self.algorithms[name]


class TokenReader:
    """Checks tokens against one issuer's settings. Raises: Misconfigured when made."""

    def __init__(self, settings: AuthSettings) -> None:
        refused = [name for name in settings.jwt_algorithms if name not in _FITS]
        if refused or not settings.jwt_algorithms:
            msg = f"RAG_AUTH__JWT_ALGORITHMS: {', '.join(refused) or 'empty'}; taken are: {', '.join(_FITS)}"
            raise Misconfigured(msg)
        if not settings.jwt_issuer or not settings.jwt_audience:
            msg = "tokens need both RAG_AUTH__JWT_ISSUER and RAG_AUTH__JWT_AUDIENCE: any other service's would be taken otherwise"
            raise Misconfigured(msg)
        self._settings = settings
        self._issuer, self._audience = settings.jwt_issuer, settings.jwt_audience
        self._registry = _Pinned(algorithms=settings.jwt_algorithms, strict_check_header=False)

    def identity(self, token: str, keys: Iterable[Key], now_s: float) -> Identity:
        """Who the token says asks. Raises: BadCredentials; UnknownKeyId, when none of `keys` is the one it names."""
        key = self._key_for(token, keys)
        reason = "invalid_credentials"
        try:
            claims = jwt.decode(token, key, algorithms=list(self._settings.jwt_algorithms), registry=self._registry).claims
            self._check(claims, now_s)
        except ExpiredTokenError as exc:
            expired = "credentials_expired"
            raise BadCredentials(expired, "the token has expired") from exc
        except ClaimError as exc:
            raise BadCredentials(reason, f"the token's claim {exc.claim!r} is missing or not what is asked for here") from exc
        except (JoseError, ValueError, TypeError, OverflowError) as exc:
            raise BadCredentials(reason, "the token's signature or form is not right") from exc
        return self._identity(claims)

    def usable(self, keys: Iterable[Key]) -> tuple[Key, ...]:
        """Those of an issuer's keys that can have signed what is taken here."""
        return tuple(key for key in keys if any(_fits(key, alg) for alg in self._settings.jwt_algorithms))

    def _check(self, claims: dict[str, Any], now_s: float) -> None:
        # The library takes true and NaN for numbers.
        times = [claims[name] for name in ("exp", "nbf", "iat") if name in claims]
        if any(isinstance(value, bool) or value != value for value in times):  # noqa: PLR0124  NaN alone differs from itself
            reason = "invalid_credentials"
            raise BadCredentials(reason, "the token's times are no numbers")
        jwt.JWTClaimsRegistry(
            now=int(now_s),
            leeway=int(self._settings.jwt_leeway_s),
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        ).validate(claims)

    def _key_for(self, token: str, keys: Iterable[Key]) -> Key:
        reason = "invalid_credentials"
        header = _header(token)
        alg, kid = header.get("alg"), header.get("kid")
        if not isinstance(alg, str) or alg not in self._settings.jwt_algorithms:
            raise BadCredentials(reason, "the token is signed by an algorithm that is not taken here")
        if "b64" in header:
            raise BadCredentials(reason, "the token's form is not right")
        fitting = [key for key in keys if _fits(key, alg)]
        if kid is None:
            if len(fitting) == 1:
                return fitting[0]
            raise BadCredentials(reason, "the token doesn't say which of the issuer's keys signed it (`kid`)")
        for key in fitting:
            if key.kid == kid:
                return key
        raise UnknownKeyId(reason, "the token is signed by a key that the issuer doesn't publish")

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        settings = self._settings
        user = claims.get(settings.jwt_user_claim)
        if not isinstance(user, str) or not is_principal(f"user:{user}"):
            reason = "unusable_principal"
            raise BadCredentials(
                reason,
                f"the token's claim {settings.jwt_user_claim!r} is no name for a user: text without spaces, quotes, backslashes",
            )
        groups = [f"group:{name}" for name in _strings(claims.get(settings.jwt_groups_claim))]
        # A group that no allow-list can name opens nothing: left out, the caller sees the same.
        named = [name for name in groups if is_principal(name)]
        scopes = Scopes.known(name for text in _strings(claims.get(settings.jwt_scope_claim)) for name in text.split())
        return identity_of([f"user:{user}", *named], scopes, "token")


def parse_keys(raw: bytes) -> tuple[Key, ...]:
    """The public signing keys of a key set. Keys of other kinds are passed over. Raises: Rejected, when there is none."""
    reason = "bad_key_set"
    try:
        entries = orjson.loads(raw)["keys"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as exc:
        raise Rejected(reason, 'not a JSON Web Key Set: {"keys": [...]}') from exc
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise Rejected(reason, f"`keys` is no list of at most {MAX_KEYS}")
    keys = tuple(key for entry in entries if (key := _key(entry)) is not None)
    if not keys:
        raise Rejected(reason, "the key set holds no public key for signatures (RSA of 2048 bits and more, EC, Ed25519)")
    return keys


def _key(entry: object) -> Key | None:
    if not isinstance(entry, dict) or entry.get("kty") not in {"RSA", "EC", "OKP"} or entry.get("use", "sig") != "sig":
        return None
    try:
        if entry["kty"] == "RSA" and len(urlsafe_b64decode(to_bytes(entry["n"]))) * 8 < MIN_RSA_BITS:
            return None
        key: Key = JWKRegistry.import_key(entry)
    except (JoseError, ValueError, TypeError, KeyError, AttributeError, binascii.Error):
        return None
    return key


def _fits(key: Key, alg: str) -> bool:
    kind, curve = _FITS[alg]
    is_curve = curve is None or getattr(key, "curve_name", None) == curve
    return key.key_type == kind and is_curve and key.alg in {None, alg}


def _header(token: str) -> Mapping[str, Any]:
    reason = "invalid_credentials"
    if len(token) > MAX_SIGNED_TOKEN or token.count(".") != 2:  # noqa: PLR2004  header.claims.signature
        raise BadCredentials(reason, f"not a signed token of at most {MAX_SIGNED_TOKEN:,} characters")
    first = token.partition(".")[0]
    try:
        header = orjson.loads(base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as exc:
        raise BadCredentials(reason, "the token's header can't be read") from exc
    if not isinstance(header, dict):
        raise BadCredentials(reason, "the token's header can't be read")
    return header


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [item for item in value if isinstance(item, str) and item != EVERYONE] if isinstance(value, list) else []
