"""Writes batches that are atomic, each exactly once, by one writer at a time.

What a caller must know: after `ProducerFenced`, and after a `Retryable` from a stopped writer, nobody here can say whether
the last batch was committed. The log can: `open` again, read it to its end, go on from the last marker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from connectors.kafka._sending import Sending
from connectors.kafka.config import transactional_config
from connectors.kafka.errors import (
    FENCED_CODES,
    Backpressure,
    ProducerFenced,
    error_of,
    is_passing,
    is_refusal,
    translate,
)
from connectors.kafka.link import KafkaLink
from connectors.kafka.locks import WriterLock
from connectors.kafka.outage import OutageLog
from connectors.kafka.records import OutRecord
from schemas.errors import Misconfigured, RagError, Rejected, Retryable

OPEN_TIMEOUT_S: Final = 60.0
# One call into the client: short, so that `stop` is noticed.
CALL_S: Final = 1.0
MIN_PAUSE_S: Final = 0.05
MAX_PAUSE_S: Final = 2.0
# Failures that aren't known to pass are tried again this often: a transaction's state repairs itself by being aborted.
UNKNOWN_FAILURE_TRIES: Final = 3


class _MustAbort(Exception):
    """The transaction has failed and takes no more: abort it."""

    def __init__(self, cause: KafkaError) -> None:
        super().__init__(cause.str())
        self.cause = cause


class TransactionalWriter:
    """One transactional producer. Not thread-safe; `stop` may be set from anywhere."""

    def __init__(self, link: KafkaLink, transactional_id: str, stop: threading.Event | None = None) -> None:
        """While Kafka is away calls wait, logging so, until `stop` is set; then they raise Retryable. No I/O here."""
        self.transactional_id = transactional_id
        self._link = link
        self._stop = stop or threading.Event()
        self._producer: Producer | None = None
        self._sending = Sending(link)
        self._outage = OutageLog(transactional_id=transactional_id, bootstrap=link.bootstrap)
        self._refused: KafkaError | None = None
        needs_lock = link.embedded and link.lock_dir is not None
        self._lock = WriterLock(link.lock_dir, transactional_id) if needs_lock and link.lock_dir else None

    def open(self, timeout_s: float = OPEN_TIMEOUT_S) -> None:
        """Become the writer: fence every predecessor and end its open transaction.

        Raises:
            Retryable: Kafka did not answer within `timeout_s`, or `stop` was set.
            Fenced: embedded only: another process holds the lock.
            Misconfigured: login or permission refused.
        """
        self._drop()
        if self._lock is not None:
            self._lock.acquire()
        config = {**transactional_config(self._link, self.transactional_id), "error_cb": self._on_error}
        # Successes are what commit() tells; only the embedded broker's accounts need each one.
        config["delivery.report.only.error"] = self._link.backlog is None
        producer = Producer(config)
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                producer.init_transactions(min(CALL_S, timeout_s))
                break
            except KafkaException as exc:
                # init_transactions() itself doesn't serve the callback that hears of a refused login.
                with suppress(KafkaException):
                    # A client whose transactional id is refused repeats that to every call; `exc` says it already.
                    producer.poll(0)
                self._wait_to_open(error_of(exc), deadline, timeout_s, exc)
        self._outage.recovered()
        self._producer = producer

    def commit(self, records: Sequence[OutRecord], *, before_commit: Callable[[], None] | None = None) -> None:
        """Write `records` in one transaction: all of them once, or none. Waits for Kafka as long as that takes.

        Readers see them a few milliseconds after this returns; `read_to_end` after a successor's `open` sees them all.

        `before_commit` is called when all are queued and nothing is committed yet (chaos tests strike there).

        1. begin, queue every record, commit. 2. Where the client can't tell how a commit ended it is asked again until it
        can. 3. A transaction that failed is aborted and the same batch repeated. 4. A writer that was fenced is dropped.

        Raises:
            ProducerFenced: another writer took over, or the transaction timed out: `open` again to go on.
            Rejected: a record is larger than Kafka takes; nothing was written.
            Retryable: `stop` was set, or no consumer of the embedded broker made room.
            Misconfigured, Fatal: nothing was written.
        """
        pause_s = MIN_PAUSE_S
        unknown_failures = 0
        while True:
            try:
                self._attempt(records, before_commit)
            except _MustAbort as failed:
                self._abort()
                if not _is_worth_repeating(failed.cause):
                    unknown_failures += 1
                    if unknown_failures >= UNKNOWN_FAILURE_TRIES or _is_of_the_batch(failed.cause):
                        raise translate(failed.cause, self._doing("writing a batch")) from failed
                self._outage.waiting(failed.cause.str())
                self._pause(pause_s, failed)
                pause_s = min(MAX_PAUSE_S, pause_s * 2)
            else:
                self._outage.recovered()
                return

    def close(self) -> None:
        """Give up what is not committed and release connections and lock. Never raises."""
        self._drop()
        self._sending.close()
        if self._lock is not None:
            self._lock.release()

    def _attempt(self, records: Sequence[OutRecord], before_commit: Callable[[], None] | None) -> None:
        producer = self._opened()
        self._sending.take_failure()
        try:
            producer.begin_transaction()
            for record in records:
                self._enqueue(producer, record)
        except KafkaException as exc:
            raise self._judge(error_of(exc), exc) from exc
        except RagError:
            # Refused before it was sent: what was queued of the batch must not be committed with the next.
            self._abort()
            raise
        if before_commit is not None:
            before_commit()
        self._commit(producer)

    def _enqueue(self, producer: Producer, record: OutRecord) -> None:
        while True:
            try:
                return self._sending.enqueue(producer, record, CALL_S)
            except Backpressure as full:
                if self._stop.is_set():
                    raise
                # Kafka away: the queue empties by itself when the transaction's messages expire.
                self._outage.waiting(full)
                if self._sending.failure is not None:
                    raise _MustAbort(self._sending.failure) from full

    def _commit(self, producer: Producer) -> None:
        while True:
            try:
                return producer.commit_transaction(CALL_S)
            except KafkaException as exc:
                error = error_of(exc)
                if error.fatal() or error.txn_requires_abort() or not is_passing(error):
                    raise self._judge(error, exc) from exc
                # Not answered yet: the outcome is settled by asking again, never by writing again.
                self._outage.waiting(error.str())
                self._stop_if_told(exc, "whether the last batch was committed is unknown, the log tells")

    def _abort(self) -> None:
        producer = self._opened()
        while True:
            try:
                producer.abort_transaction(CALL_S)
            except KafkaException as exc:
                error = error_of(exc)
                if error.fatal() or not is_passing(error):
                    self._drop()
                    message = self._doing(f"a failed batch could not be taken back ({error.str()})")
                    raise ProducerFenced(message) from exc
                self._outage.waiting(error.str())
                self._stop_if_told(exc, "a failed batch ends by its timeout")
            else:
                return

    def _judge(self, error: KafkaError, exc: KafkaException) -> Exception:
        """What to raise for an error that ends the attempt."""
        if error.fatal() or (error.code() in FENCED_CODES and not error.txn_requires_abort()):
            # The client has given up for good, whatever the reason: another one and the log's word mend all of them.
            self._drop()
            return ProducerFenced(self._doing(f"writing a batch: {error.name()}: {error.str()}"))
        # The client's word for it is "erroneous state"; the delivery that failed says why.
        return _MustAbort(self._sending.failure or error)

    def _wait_to_open(self, error: KafkaError, deadline: float, timeout_s: float, exc: KafkaException) -> None:
        if error.fatal() or not is_passing(error):
            raise translate(error, self._doing("becoming the writer")) from exc
        if self._refused is not None:
            raise translate(self._refused, self._doing("becoming the writer")) from exc
        self._outage.waiting(error.str())
        if time.monotonic() >= deadline:
            message = self._doing(f"Kafka at {self._link.bootstrap} gave no writer in {timeout_s:g} s ({error.str()})")
            raise Retryable(message) from exc
        self._stop_if_told(exc, "nothing was written")
        self._stop.wait(MIN_PAUSE_S)

    def _stop_if_told(self, cause: Exception, consequence: str) -> None:
        if self._stop.is_set():
            self._drop()
            raise Retryable(self._doing(f"stopped while waiting for Kafka: {consequence}")) from cause

    def _pause(self, pause_s: float, cause: Exception) -> None:
        if self._stop.wait(pause_s):
            self._stop_if_told(cause, "the last batch was not committed")

    def _on_error(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refused = error
        self._outage.waiting(error.str())

    def _opened(self) -> Producer:
        if self._producer is None:
            raise ProducerFenced(self._doing("the writer is not open: call open() and read the log first"))
        return self._producer

    def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            # Not close(): that would wait for a broker which may be away. The broker ends what is open by timeout, or
            # when the next writer opens.
            with suppress(KafkaException):
                # A fenced client repeats its fatal error to every call.
                producer.purge()
                producer.poll(0)

    def _doing(self, what: str) -> str:
        return f"{self.transactional_id}: {what}"


def _is_worth_repeating(error: KafkaError) -> bool:
    return is_passing(error) or error.code() in (
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.INVALID_TXN_STATE,
    )


def _is_of_the_batch(error: KafkaError) -> bool:
    """Whether the same records would fail again, however often."""
    return isinstance(translate(error, ""), (Rejected, Misconfigured))
