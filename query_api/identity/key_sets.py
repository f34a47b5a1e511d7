"""The issuer's keys: from a file, or from its URL, fetched in the background. Where the issuer is away the last ones stay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx
import structlog
from joserfc.jwk import Key

from query_api.identity.errors import KeysUnavailable
from query_api.identity.signed_tokens import parse_keys
from schemas.errors import Misconfigured, Rejected

FETCH_TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 1024 * 1024
RETRY_S: Final = 5.0
"""After a failed fetch, and between two fetches that unknown key ids ask for: whoever invents ids costs the issuer nothing."""
STOP_TIMEOUT_S: Final = 1.0

_log = structlog.get_logger(__name__)


class KeySource(Protocol):
    """The issuer's keys of this moment. Thread-safe, never blocks."""

    def start(self) -> None:
        """Begin to fetch. Raises: Misconfigured."""
        ...

    def read(self) -> tuple[Key, ...]:
        """The keys as they are now, read or fetched for this call alone. Blocks for `FETCH_TIMEOUT_S` at most.

        Raises: Misconfigured, KeysUnavailable.
        """
        ...

    @property
    def keys(self) -> tuple[Key, ...]:
        """Raises: KeysUnavailable, before they were there for the first time."""
        ...

    def ask_again(self) -> Future[None] | None:
        """Fetch them soon; done when that is through, whatever came of it. None: they were just fetched, ask later."""
        ...

    def close(self) -> None:
        """Never raises."""
        ...


class KeySetFile:
    """Keys in a file, read once more when a token names an unknown one."""

    def __init__(self, path: Path, *, retry_s: float = RETRY_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._retry_s = retry_s
        self._clock = clock
        self._read_at = float("-inf")
        self._keys: tuple[Key, ...] = ()

    def start(self) -> None:
        self._keys = self.read()

    def read(self) -> tuple[Key, ...]:
        try:
            return parse_keys(self._path.read_bytes())
        except (OSError, Rejected) as exc:
            msg = f"RAG_AUTH__JWKS_FILE: {self._path}: {exc}"
            raise Misconfigured(msg) from exc

    @property
    def keys(self) -> tuple[Key, ...]:
        return self._keys

    def ask_again(self) -> Future[None] | None:
        if self._clock() - self._read_at < self._retry_s:
            return None
        self._read_at = self._clock()
        try:
            self._keys = parse_keys(self._path.read_bytes())
        except (OSError, Rejected) as exc:
            _log.error("token_keys_unreadable_the_last_good_ones_stay", file=str(self._path), error=str(exc))
            return None
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def close(self) -> None:
        """Nothing is held."""


class KeySetUrl:
    """Keys fetched from `url` by a thread of its own: every `refresh_s`, and when asked again, not more often than `retry_s`."""

    def __init__(
        self, url: str, refresh_s: float, *, retry_s: float = RETRY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
            msg = f"RAG_AUTH__JWKS_URL: {url!r} is no http(s) address"
            raise Misconfigured(msg)
        self._url = url
        self._refresh_s = refresh_s
        self._retry_s = retry_s
        self._clock = clock
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._keys: tuple[Key, ...] = ()
        self._fetched_at = float("-inf")
        self._asked: Future[None] | None = None
        self._thread = threading.Thread(target=self._run, name="token-keys", daemon=True)

    def start(self) -> None:
        if urlsplit(self._url).scheme == "http":
            _log.warning("token_keys_travel_unencrypted", url=self._url)
        self._thread.start()

    def read(self) -> tuple[Key, ...]:
        try:
            with _client() as client:
                return parse_keys(self._download(client))
        except (httpx.HTTPError, httpx.InvalidURL, Rejected) as exc:
            msg = f"{self._url}: {str(exc) or type(exc).__name__}"
            raise KeysUnavailable(msg) from exc

    @property
    def keys(self) -> tuple[Key, ...]:
        if not self._keys:
            msg = "the token issuer's keys could not be fetched yet; ask again in a moment"
            raise KeysUnavailable(msg)
        return self._keys

    def ask_again(self) -> Future[None] | None:
        with self._lock:
            if self._asked is not None:
                return self._asked
            if self._stop.is_set() or self._clock() - self._fetched_at < self._retry_s:
                return None
            self._asked = Future()
            self._wake.set()
            return self._asked

    def close(self) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.ident is not None:
            # A fetch in work ends by its own timeout; the thread is a daemon.
            self._thread.join(STOP_TIMEOUT_S)
        self._settle()

    def _run(self) -> None:
        with _client() as client:
            while not self._stop.is_set():
                is_fetched = self._fetch(client)
                self._settle()
                if not self._stop.is_set():
                    self._wake.wait(self._refresh_s if is_fetched else min(self._retry_s, self._refresh_s))

    def _fetch(self, client: httpx.Client) -> bool:
        try:
            keys = parse_keys(self._download(client))
        except (httpx.HTTPError, httpx.InvalidURL, Rejected) as exc:
            _log.warning("token_keys_not_fetched", url=self._url, error=str(exc) or type(exc).__name__, has_keys=bool(self._keys))
            return False
        except Exception:
            # This thread's end would be the silent end of key rotation.
            _log.exception("token_keys_not_fetched", url=self._url)
            return False
        self._keys = keys
        return True

    def _download(self, client: httpx.Client) -> bytes:
        held = bytearray()
        reason = "bad_key_set"
        until = self._clock() + FETCH_TIMEOUT_S
        with client.stream("GET", self._url, headers={"Accept": "application/json"}) as response:
            if response.status_code != httpx.codes.OK:
                raise Rejected(reason, f"the issuer answered {response.status_code}")
            for part in response.iter_bytes():
                held += part
                if len(held) > MAX_BYTES:
                    raise Rejected(reason, f"more than {MAX_BYTES:,} bytes")
                if self._clock() > until:
                    raise Rejected(reason, f"not sent within {FETCH_TIMEOUT_S:g} s")
        return bytes(held)

    def _settle(self) -> None:
        with self._lock:
            self._fetched_at = self._clock()
            asked, self._asked = self._asked, None
            self._wake.clear()  # who asked while it was fetched has been served
        if asked is not None:
            asked.set_result(None)


def _client() -> httpx.Client:
    return httpx.Client(timeout=FETCH_TIMEOUT_S, follow_redirects=False)
