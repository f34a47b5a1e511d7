"""API keys: how they look, how a file holds them, which one a caller has. Pure.

A key is `rsk_<id>_<secret>`: 256 random bits need no slow hash, so the file holds the SHA-256. The id finds the entry.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from query_api.identity.errors import BadCredentials
from query_api.identity.identity import Identity, Scopes, identity_of, is_scope
from schemas.acl import EVERYONE, is_principal
from schemas.errors import Misconfigured, Rejected
from schemas.wire import describe

PREFIX: Final = "rsk_"
MAX_KEYS: Final = 10_000
MAX_FILE_BYTES: Final = 8 * 1024 * 1024
ID_BYTES: Final = 6
SECRET_BYTES: Final = 32

_KEY: Final = re.compile(r"rsk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII)
_NO_HASH: Final = "0" * 64


def _principal(name: str) -> str:
    if not is_principal(name) or name == EVERYONE:
        msg = "must be user:NAME or group:NAME; the operator's rights come with the scope `operate`"
        raise ValueError(msg)
    return name


def _scope(name: str) -> str:
    if not is_scope(name):
        msg = "must be ask, publish (all indexes), publish:INDEX or operate"
        raise ValueError(msg)
    return name


PrincipalName = Annotated[str, AfterValidator(_principal)]
ScopeName = Annotated[str, AfterValidator(_scope)]


class KeyEntry(BaseModel):
    """One key, as its file holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]
    principals: Annotated[tuple[PrincipalName, ...], Field(min_length=1, max_length=200)]
    scopes: Annotated[tuple[ScopeName, ...], Field(min_length=1, max_length=200)]
    expires: datetime | None = None
    note: str = ""

    @model_validator(mode="after")
    def _says_where_it_ends(self) -> Self:
        if self.expires is not None and self.expires.tzinfo is None:
            msg = "`expires` needs an offset, such as 2027-01-01T00:00:00Z"
            raise ValueError(msg)
        return self

    @property
    def identity(self) -> Identity:
        return identity_of(self.principals, Scopes.known(self.scopes), f"key:{self.id}")


class _KeyFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    keys: Annotated[tuple[KeyEntry, ...], Field(max_length=MAX_KEYS)] = ()


class NewKey(NamedTuple):
    """A key just made: `key` is shown once and kept nowhere."""

    key: str
    entry: KeyEntry


def new_key(
    principals: Iterable[str],
    scopes: Iterable[str],
    *,
    expires: datetime | None = None,
    note: str = "",
    randomness: Callable[[int], bytes] = secrets.token_bytes,
) -> NewKey:
    """Raises: Rejected, naming what can't be in an entry."""
    key_id = randomness(ID_BYTES).hex()
    key = f"{PREFIX}{key_id}_{_base64url(randomness(SECRET_BYTES))}"
    try:
        entry = KeyEntry(
            id=key_id, sha256=_hash(key), principals=tuple(principals), scopes=tuple(scopes), expires=expires, note=note
        )
    except ValidationError as exc:
        msg = "invalid_key_entry"
        raise Rejected(msg, describe(exc)) from exc
    return NewKey(key, entry)


def entry_text(entry: KeyEntry) -> str:
    """The entry as an item of the file's list `keys`."""
    fields = {name: value for name, value in entry.model_dump(mode="json").items() if value not in (None, "")}
    return "".join(f"  {line}\n" for line in str(yaml.safe_dump([fields], sort_keys=False, allow_unicode=True)).splitlines())


def append_entry(path: Path, entry: KeyEntry) -> None:
    """Add `entry` to the file, which is made where there is none, readable by its owner only. All or nothing.

    Raises: Rejected, where what is there is no key file; Misconfigured, where it can't be read or written.
    """
    try:
        _append(path, entry)
    except OSError as exc:
        missing = not path.parent.is_dir()
        said = f"there is no folder {path.parent}: make it first" if missing else f"{exc.strerror or exc}: change its permissions"
        msg = f"RAG_AUTH__API_KEYS_FILE: {path}: {said}; no key was made"
        raise Misconfigured(msg) from exc


def _append(path: Path, entry: KeyEntry) -> None:
    text = _text_of(path) if path.exists() else "keys:\n"
    whole = f"{text.rstrip()}\n{entry_text(entry)}" if parse_key_file(text) else f"keys:\n{entry_text(entry)}"
    if len(whole.encode()) > MAX_FILE_BYTES:
        reason = "bad_key_file"
        raise Rejected(reason, f"with one key more {path} has more than {MAX_FILE_BYTES:,} bytes: take out those that expired")
    parse_key_file(whole)
    beside = path.with_name(f".{path.name}.{entry.id}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, path.stat().st_mode & 0o777 if path.exists() else 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(whole)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _text_of(path: Path) -> str:
    """Raises: Rejected, OSError."""
    reason = "bad_key_file"
    with path.open("rb") as file:
        raw = file.read(MAX_FILE_BYTES + 1)
    if len(raw) > MAX_FILE_BYTES:
        raise Rejected(reason, f"{path} has more than {MAX_FILE_BYTES:,} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as exc:
        raise Rejected(reason, f"{path} is not UTF-8 at byte {exc.start}") from exc


def parse_key_file(text: str) -> dict[str, KeyEntry]:
    """Entries by id. Raises: Rejected, naming the line or the field; never a hash."""
    reason = "bad_key_file"
    try:
        content: Any = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as exc:
        mark = getattr(exc, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise Rejected(reason, f"not YAML{where}: {getattr(exc, 'problem', None) or type(exc).__name__}") from exc
    if content is None or content == {"keys": None}:
        return {}  # `keys:` alone, or nothing yet
    try:
        entries = _KeyFile.model_validate(content).keys
    except ValidationError as exc:
        raise Rejected(reason, describe(exc)) from exc
    found: dict[str, KeyEntry] = {}
    for entry in entries:
        if entry.id in found:
            raise Rejected(reason, f"the id {entry.id} stands there twice")
        found[entry.id] = entry
    return found


def looks_like_key(credential: str) -> bool:
    """Whether `credential` is meant to be an API key."""
    return credential.startswith(PREFIX)


def identify_key(key: str, entries: Mapping[str, KeyEntry], now: datetime) -> Identity:
    """Whose key it is. Raises: BadCredentials, the same whether the id or the secret is unknown."""
    shape = _KEY.fullmatch(key)
    entry = entries.get(shape[1]) if shape else None
    # Compared in any case, and in constant time: an unknown id takes as long as a wrong secret.
    is_right = hmac.compare_digest(_hash(key), entry.sha256 if entry else _NO_HASH)
    if entry is None or not is_right:
        reason = "invalid_credentials"
        raise BadCredentials(reason, "the API key is not known here")
    if entry.expires is not None and now >= entry.expires:
        reason = "credentials_expired"
        raise BadCredentials(reason, "the API key has expired")
    return entry.identity


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
