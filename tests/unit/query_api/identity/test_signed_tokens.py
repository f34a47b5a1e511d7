"""Tokens: what a good one gives, and every way of forging one that is known."""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import Any

import orjson
import pytest
from joserfc.jwk import OctKey, RSAKey

from query_api.identity import BadCredentials
from query_api.identity.signed_tokens import TokenReader, UnknownKeyId, parse_keys
from schemas.acl import OPERATOR
from schemas.errors import Misconfigured, Rejected
from schemas.settings import AuthSettings
from tests.unit.query_api.identity.tokens import AUDIENCE, ISSUER, Issuer, by_hand

ISSUED = Issuer()
READER = TokenReader(ISSUED.settings)
KEYS = parse_keys(ISSUED.key_set())


def read(token: str, keys: Any = KEYS) -> Any:
    return READER.identity(token, keys, time.time())


@pytest.mark.parametrize("alg", ["RS256", "ES256", "Ed25519"])
def test_a_good_token_names_user_groups_and_scopes(alg: str) -> None:
    """Scopes of others give nothing."""
    identity = read(ISSUED.token(alg=alg))
    assert identity.principals == ("group:hr", "user:maya")
    assert (identity.scopes.ask, identity.scopes.operate, identity.scopes.may_publish("docs")) == (True, False, False)


def test_scopes_open_what_they_name() -> None:
    """Publishing by index, operating with the operator's principal, nothing without a scope."""
    assert read(ISSUED.token(scope=["publish:docs"])).scopes.publish_to == {"docs"}
    assert not read(ISSUED.token(scope=["publish:docs"])).scopes.ask
    assert OPERATOR in read(ISSUED.token(scope="operate")).principals
    assert not read(ISSUED.token(scope=None)).scopes.ask
    assert not read(ISSUED.token(scope="publish:* publish:DOCS Publish")).scopes.may_publish("docs")


@pytest.mark.parametrize("groups", [[OPERATOR, "*"], "role:operator", ["a b", 'x"', "", 7, None, ["hr"]], {"hr": 1}])
def test_groups_never_give_more_than_groups(groups: Any) -> None:
    """Neither the operator's rights nor another's; what no list can name is left out."""
    identity = read(ISSUED.token(groups=groups))
    assert OPERATOR not in identity.principals
    assert all(name.startswith(("user:", "group:")) for name in identity.principals)


@pytest.mark.parametrize(
    "over",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"iss": [ISSUER]},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["other"]},
        {"exp": 1},
        {"exp": None},
        {"exp": "tomorrow"},
        {"exp": True},
        {"nbf": int(time.time()) + 3600},
        {"iat": int(time.time()) + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": "a b"},
        {"sub": ["maya"]},
        {"groups": [f"g{n}" for n in range(300)]},
    ],
)
def test_a_claim_that_is_not_as_it_must_be_is_refused(over: dict[str, Any]) -> None:
    """Signed or not."""
    with pytest.raises(BadCredentials):
        read(ISSUED.token(**over))


def test_clocks_may_differ_by_the_leeway() -> None:
    """Half a minute by default."""
    assert read(ISSUED.token(exp=int(time.time()) - 20))
    assert read(ISSUED.token(aud=["other", AUDIENCE]))


def forged() -> list[Any]:
    claims = ISSUED.claims(scope="operate")
    public = orjson.dumps(ISSUED.rsa.as_dict(private=False))
    pem = ISSUED.rsa.as_pem(private=False)
    hs = {"alg": "HS256", "kid": "rsa"}
    stranger = RSAKey.generate_key(2048, {"kid": "rsa"})
    good = ISSUED.token()
    head, body, signature = good.split(".")

    def with_hmac(secret: bytes) -> str:
        unsigned = by_hand(hs, claims).rpartition(".")[0]
        return by_hand(hs, claims, hmac.new(secret, unsigned.encode(), hashlib.sha256).digest())

    return [
        pytest.param(by_hand({"alg": "none"}, claims), id="none"),
        pytest.param(by_hand({"alg": "None", "kid": "rsa"}, claims), id="None"),
        pytest.param(by_hand({"alg": ["RS256"], "kid": "rsa"}, claims), id="alg-a-list"),
        pytest.param(with_hmac(pem), id="public-key-as-hmac-secret-pem"),
        pytest.param(with_hmac(public), id="public-key-as-hmac-secret-jwk"),
        pytest.param(with_hmac(b""), id="empty-hmac-secret"),
        pytest.param(ISSUED.token(key=stranger), id="strangers-key-same-id"),
        pytest.param(ISSUED.token(key=stranger, header={"jwk": stranger.as_dict(private=False)}), id="key-in-the-header"),
        pytest.param(ISSUED.token(key=stranger, header={"jku": "https://evil.example/keys"}), id="key-url-in-the-header"),
        pytest.param(by_hand({"alg": "ES256", "kid": "rsa"}, claims, b"x" * 64), id="algorithm-of-another-key"),
        pytest.param(by_hand({"alg": "ES256", "kid": "ec"}, claims, bytes(64)), id="psychic-signature"),
        pytest.param(f"{head}.{by_hand({}, claims).split('.')[1]}.{signature}", id="other-claims"),
        pytest.param(f"{head}.{body}.", id="no-signature"),
        pytest.param(ISSUED.token(header={"kid": None}), id="no-key-id-where-several-fit"),
        pytest.param(by_hand({"alg": "RS256", "kid": "rsa", "crit": ["exp"]}, claims, b"x"), id="crit"),
        pytest.param(by_hand({"alg": "RS256", "kid": "rsa", "b64": False}, claims, b"x"), id="b64"),
        pytest.param("a.b", id="two-parts"),
        pytest.param("a.b.c.d.e", id="encrypted"),
        pytest.param("..", id="empty"),
        pytest.param("x" * 10_000 + ".a.b", id="long"),
        pytest.param("[" * 4000 + ".a.b", id="nested"),
    ]


@pytest.mark.parametrize("token", forged())
def test_a_forged_token_is_refused(token: str) -> None:
    """Whatever it says of how to check it."""
    twins = (*KEYS, *parse_keys(ISSUED.key_set(RSAKey.generate_key(2048, {"kid": "rsa-2"}))))
    with pytest.raises(BadCredentials):
        read(token, twins)


def test_an_unknown_key_id_is_told_apart() -> None:
    """The issuer may have new keys."""
    with pytest.raises(UnknownKeyId):
        read(ISSUED.token(key=RSAKey.generate_key(2048, {"kid": "new"})))


def test_secrets_and_weak_keys_in_a_key_set_are_passed_over() -> None:
    """Only public keys for signatures count; none is an error."""
    weak = {**ISSUED.rsa.as_dict(private=False), "n": "x" * 171}
    secret = OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True)
    for_encryption = {**ISSUED.rsa.as_dict(private=False), "use": "enc"}
    with pytest.raises(Rejected):
        parse_keys(orjson.dumps({"keys": [weak, secret, for_encryption, {"kty": "RSA"}, 7]}))
    for raw in (b"", b"[]", b'{"keys": 7}', b'{"keys": []}'):
        with pytest.raises(Rejected):
            parse_keys(raw)


@pytest.mark.parametrize(
    "over",
    [
        {"jwt_algorithms": ("RS256", "HS256")},
        {"jwt_algorithms": ("none",)},
        {"jwt_algorithms": ()},
        {"jwt_audience": None},
    ],
)
def test_settings_that_would_open_a_door_are_refused(over: dict[str, Any]) -> None:
    """At the start, naming the variable."""
    with pytest.raises(Misconfigured, match="RAG_AUTH__JWT"):
        TokenReader(AuthSettings(**{"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **over}))
