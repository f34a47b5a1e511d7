"""Redis behind TLS: rediss:// with the authority, and where Redis asks for it a certificate, named in the URL."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from connectors.redis import RedisLink, RedisStore
from tests.servers.certificates import Authority, Certificate
from tests.servers.plugin import RedisFactory
from tests.servers.ports import free_ports

PASSWORD = "of-the-url"
KEY_PASSWORD = "of-the-key"
TIMEOUT_S = 2.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def client(authority: Authority) -> Certificate:
    return authority.issue("client", password=KEY_PASSWORD)


def start(redis_factory: RedisFactory, authority: Authority, *, asks: bool) -> int:
    """A Redis behind TLS, which asks for the client's certificate or doesn't; returns its port."""
    (port,) = free_ports(1)
    files = authority.issue("redis", "127.0.0.1")
    own = ["--tls-cert-file", str(files.certificate), "--tls-key-file", str(files.key)]
    trusted = ["--tls-ca-cert-file", str(authority.certificate), "--tls-auth-clients", "yes" if asks else "no"]
    redis_factory("--tls-port", str(port), *own, *trusted)
    return port


def what_is_said(url: str) -> str:
    """In the one warning of a link that gets nowhere; its calls go on without Redis."""
    link = RedisLink(url, TIMEOUT_S)
    try:
        with capture_logs() as said:
            assert RedisStore(link, "t:").get("key") is None
            assert link.is_away
    finally:
        link.close()
    [warning] = [dict(line) for line in said if line["log_level"] == "warning"]
    assert warning["setting"] == "RAG_REDIS__URL"
    assert PASSWORD not in str(warning)
    return str(warning["detail"])


@pytest.mark.parametrize("asks", [False, True], ids=["tls", "mutual-tls"])
def test_values_go_through_tls(redis_factory: RedisFactory, authority: Authority, client: Certificate, asks: bool) -> None:
    """The client is sure of Redis, and Redis, where it wants to be, of the client."""
    url = f"rediss://127.0.0.1:{start(redis_factory, authority, asks=asks)}/0?ssl_ca_certs={authority.certificate}"
    certificate = f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}&ssl_password={KEY_PASSWORD}"
    link = RedisLink(url + certificate if asks else url, TIMEOUT_S)
    try:
        assert RedisStore(link, "t:").put("key", b"value", 60)
        assert RedisStore(link, "t:").get("key") == b"value"
    finally:
        link.close()


def test_a_redis_that_nobody_vouches_for_is_not_used(redis_factory: RedisFactory, authority: Authority, tmp_path: Path) -> None:
    """Nothing is sent to it, no password either; the log names the reason and the setting."""
    url = f"rediss://:{PASSWORD}@127.0.0.1:{start(redis_factory, authority, asks=False)}/0"
    stranger = Authority(tmp_path, "stranger")
    for unsure in (f"{url}?ssl_ca_certs={stranger.certificate}", url):
        assert "CERTIFICATE_VERIFY_FAILED" in what_is_said(unsure)


def test_a_client_without_a_certificate_is_refused(redis_factory: RedisFactory, authority: Authority) -> None:
    """Where Redis asks for one. It closes the connection, no more: that and the setting are said."""
    port = start(redis_factory, authority, asks=True)
    assert what_is_said(f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={authority.certificate}")
