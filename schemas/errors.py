"""Every error ragstream raises on purpose, split by what the caller can do about it.

    RagError
    ├── Retryable      try again: a server is away, slow or overloaded
    ├── Rejected       this input can never be processed: dead letter, or a 4xx for a caller
    └── Fatal          the process must stop: going on would break a promise
        ├── Fenced     another process took over this partition's writer
        ├── DataLoss   the log no longer holds what this process has yet to read
        └── Misconfigured  a setting is wrong or missing; says which and how to mend it

Adapters translate a vendor's exceptions at the boundary (`raise Retryable(...) from exc`).
"""

from __future__ import annotations


class RagError(Exception):
    """Root of everything ragstream raises on purpose."""

    exit_code = 70  # EX_SOFTWARE


class Retryable(RagError):
    """A passing condition; the same call may succeed later."""

    exit_code = 75  # EX_TEMPFAIL


class Rejected(RagError):
    """An input that can't be processed however often it is tried.

    Attributes:
        reason: a stable code in snake_case, for metrics and scripts.
        detail: a sentence that names the value and the remedy. It never quotes document text.
    """

    exit_code = 65  # EX_DATAERR

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Fatal(RagError):
    """Going on would break a promise: stop the process and say why."""

    exit_code = 70  # EX_SOFTWARE


class Fenced(Fatal):
    """Another ingest process owns this partition's writer now. Do not restart into a fight."""

    exit_code = 17


class DataLoss(Fatal):
    """The log starts after the position that was to be read: messages are gone."""

    exit_code = 18


class Misconfigured(Fatal):
    """A setting is missing or wrong; the message names it and the remedy."""

    exit_code = 78  # EX_CONFIG
