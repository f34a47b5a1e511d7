"""Shares remembered answers and bars with other workers through a log in Redis, in a thread of its own: no query waits for it."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final, NamedTuple

import orjson
import structlog

from connectors.redis import BEGINNING, SharedLog
from query_api.cache.answers import AnswerCache
from query_api.cache.entry import Entry
from query_api.cache.metrics import CacheMetrics

POLL_S: Final = 0.25
"""How long another worker's answer, or a thumbs-down there, may go unnoticed here."""
PAGE: Final = 200
WAITING_MAX: Final = 1_000
"""Entries kept for a Redis that is away; beyond it the oldest are not shared. They stay in this process."""

_log = structlog.get_logger(__name__)


class Bar(NamedTuple):
    """A (question, evidence) that is kept out until a moment."""

    key: str
    until_ms: int

    def to_bytes(self) -> bytes:
        return orjson.dumps({"format": 1, "bar": self.key, "until_ms": self.until_ms})

    @classmethod
    def from_bytes(cls, raw: bytes) -> Bar:
        """Raises: ValueError."""
        wire = orjson.loads(raw)
        if not isinstance(wire, dict) or wire.get("format") != 1:
            msg = "not a bar of this release"
            raise ValueError(msg)
        key, until_ms = wire.get("bar"), wire.get("until_ms")
        if not isinstance(key, str) or not isinstance(until_ms, int):
            msg = "a bar has a key and an end"
            raise ValueError(msg)
        return cls(key, until_ms)


class SharedAnswers:
    """Fills a cache with what other workers remember, and them with what it remembers."""

    def __init__(self, cache: AnswerCache, entries: SharedLog, bars: SharedLog, metrics: CacheMetrics) -> None:
        self._cache = cache
        self._entries = entries
        self._bars = bars
        self._metrics = metrics
        self._waiting: deque[tuple[SharedLog, bytes]] = deque(maxlen=WAITING_MAX)
        self._wake = threading.Event()
        self._is_stopping = False
        self._positions = {"entries": BEGINNING, "bars": BEGINNING}
        self._thread = threading.Thread(target=self._run, name="shared-answers", daemon=True)
        cache.on_entry = self._share_entry
        cache.on_bar = self._share_bar

    def start(self) -> None:
        """Begin to read and write. What others remember already comes in within moments."""
        self._thread.start()

    def stop(self) -> None:
        """Share what waits, once, and end. The logs are closed by whoever made them."""
        self._is_stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def turn(self) -> None:
        """One round: bars before entries, so that nothing barred comes in. Called by the thread, and by tests."""
        while self._waiting:
            log, value = self._waiting[0]
            if not log.append(value):
                break
            self._waiting.popleft()
        while self._read_bars() or self._read_entries():
            if self._is_stopping:
                return

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self.turn()
            except Exception as exc:
                # One odd record must not end sharing for good.
                _log.error("sharing answers failed", exc_info=exc)
            self._wake.wait(POLL_S)
            self._wake.clear()
        self.turn()

    def _share_entry(self, entry: Entry) -> None:
        self._waiting.append((self._entries, entry.to_bytes()))
        self._wake.set()

    def _share_bar(self, key: str, until_ms: int) -> None:
        self._waiting.append((self._bars, Bar(key, until_ms).to_bytes()))
        self._wake.set()

    def _read_bars(self) -> bool:
        page = self._bars.read(self._positions["bars"], PAGE)
        for position, value in page:
            self._positions["bars"] = position
            try:
                bar = Bar.from_bytes(value)
            except ValueError:
                self._metrics.shared.labels("undecodable").inc()
                continue
            self._cache.take_in_bar(bar.key, bar.until_ms)
        return bool(page)

    def _read_entries(self) -> bool:
        page = self._entries.read(self._positions["entries"], PAGE)
        for position, value in page:
            self._positions["entries"] = position
            try:
                entry = Entry.from_bytes(value)
            except ValueError:
                self._metrics.shared.labels("undecodable").inc()
                continue
            if not self._cache.has(entry):
                self._metrics.shared.labels("taken" if self._cache.take_in(entry) else "refused").inc()
        return bool(page)
