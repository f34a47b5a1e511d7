"""API keys: made, found, refused; their file read again, its last good state kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog

from query_api.identity import BadCredentials
from query_api.identity.api_keys import NewKey, append_entry, identify_key, new_key, parse_key_file
from query_api.identity.key_file import KeyFile
from schemas.acl import OPERATOR
from schemas.errors import Misconfigured, Rejected

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def made(*scopes: str, expires: datetime | None = None) -> NewKey:
    return new_key(["user:maya"], scopes or ["ask"], expires=expires)


def test_a_key_is_its_owners() -> None:
    """The file holds no key."""
    key = made("ask", "publish:docs")
    identity = identify_key(key.key, {key.entry.id: key.entry}, NOW)
    assert identity.principals == ("user:maya",)
    assert identity.scopes.may_publish("docs")
    assert not identity.scopes.may_publish("hr")
    assert key.key not in repr(key.entry) + key.entry.model_dump_json()
    assert key.key.rpartition("_")[2] not in key.entry.model_dump_json()


def test_operating_comes_with_its_scope() -> None:
    """And includes asking."""
    key = made("operate")
    identity = identify_key(key.key, {key.entry.id: key.entry}, NOW)
    assert OPERATOR in identity.principals
    assert identity.scopes.ask
    assert identity.name == "user:maya"


def test_wrong_keys_are_refused_alike() -> None:
    """Unknown id, wrong secret, another's secret, half a key: one message."""
    mine, other = made(), made()
    entries = {mine.entry.id: mine.entry, other.entry.id: other.entry}
    swapped = f"rsk_{mine.entry.id}_{other.key[17:]}"
    messages = set()
    for key in (made().key, mine.key[:-1] + ("A" if mine.key[-1] != "A" else "B"), swapped, "rsk_", "rsk_\udc80", mine.key + "x"):
        with pytest.raises(BadCredentials) as caught:
            identify_key(key.encode("ascii", "replace").decode(), entries, NOW)
        messages.add(str(caught.value))
    assert len(messages) == 1


def test_an_expired_key_is_refused() -> None:
    """From its moment on."""
    key = made(expires=NOW)
    entries = {key.entry.id: key.entry}
    assert identify_key(key.key, entries, NOW - timedelta(seconds=1)).scopes.ask
    with pytest.raises(BadCredentials, match="expired"):
        identify_key(key.key, entries, NOW)


@pytest.mark.parametrize(
    ("principals", "scopes"),
    [(["role:operator"], ["ask"]), (["*"], ["ask"]), ([], ["ask"]), (["user:a"], []), (["user:a"], ["publish:*"])],
)
def test_an_entry_can_not_hold_more_than_it_may(principals: list[str], scopes: list[str]) -> None:
    """Refused when made, and when read from a file."""
    with pytest.raises(Rejected):
        new_key(principals, scopes)


@pytest.mark.parametrize(
    "text", ["keys: 7", "- a", "keys: [", "key: []", "keys: [{id: x}]", "[*a]", "!!python/object:os.system {}"]
)
def test_a_wrong_file_is_told(text: str) -> None:
    """What and where."""
    with pytest.raises(Rejected):
        parse_key_file(text)


def test_entries_are_appended_and_read_at_once(tmp_path: Path) -> None:
    """By `ragstream keys create --append`, while a server runs; the file is the owner's alone."""
    path = tmp_path / "keys.yaml"
    first, second = made(), made()
    append_entry(path, first.entry)
    assert path.stat().st_mode & 0o777 == 0o600
    keys = KeyFile(path)
    append_entry(path, second.entry)
    assert keys.entries.keys() == {first.entry.id, second.entry.id}
    assert dict(keys.entries) == parse_key_file(path.read_text())


def test_the_last_good_file_stays(tmp_path: Path) -> None:
    """A wrong one, or none, is logged once and changes nothing; mended, it counts."""
    path = tmp_path / "keys.yaml"
    key = made()
    append_entry(path, key.entry)
    keys = KeyFile(path)
    good = path.read_text()
    with structlog.testing.capture_logs() as logs:
        path.write_text("keys: [")
        assert key.entry.id in keys.entries
        assert key.entry.id in keys.entries
        os.unlink(path)
        assert key.entry.id in keys.entries
    assert [entry["log_level"] for entry in logs] == ["error", "error"]
    path.write_text(good.replace("user:maya", "user:ann"))
    assert keys.entries[key.entry.id].principals == ("user:ann",)
    path.write_text("keys: []")
    assert not keys.entries


def test_a_file_that_anybody_may_write_is_none(tmp_path: Path) -> None:
    """Whoever has an account there would make themselves the operator; it is refused at the start, and later changes nothing."""
    path = tmp_path / "keys.yaml"
    one, two = made(), made()
    append_entry(path, one.entry)
    keys = KeyFile(path)
    append_entry(path, two.entry)
    path.chmod(0o666)
    with structlog.testing.capture_logs() as logs:
        assert two.entry.id not in keys.entries
    assert "chmod o-w" in logs[0]["error"]
    with pytest.raises(Misconfigured, match="chmod o-w"):
        KeyFile(path)
    path.chmod(0o644)
    assert two.entry.id in keys.entries


def test_a_server_does_not_start_without_its_keys(tmp_path: Path) -> None:
    """A missing or wrong file at the start is a wrong setting."""
    with pytest.raises(Misconfigured, match="RAG_AUTH__API_KEYS_FILE"):
        KeyFile(tmp_path / "none.yaml")
