"""What a publisher asks for, and what it gets besides changes. No I/O."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas.acl import AllowList
from schemas.documents import DocumentChange
from schemas.settings import MIB

MAX_EVENT_BYTES: Final = 4 * MIB


class Problem(NamedTuple):
    """Something that became no change.

    Attributes:
        where: file, or file and line.
        reason: a stable code in snake_case.
        detail: a sentence with the remedy, no document text.
        is_skip: it was passed over as it should be (a picture in a folder); nothing is wrong.
    """

    where: str
    reason: str
    detail: str
    is_skip: bool = False


def now_ms() -> int:
    """The present moment, milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """What is said on the command line about everything that is published.

    Attributes:
        index: of files, and of rows that name none; None is the default index.
        acl: who may read; None says nothing of it. Rows that carry an ACL keep theirs.
        ttl_seconds: the end, counted from the event's time; rows that say when they end keep theirs.
        delete: publish deletes of what is named, at the present moment.
        doc_id: the name of a single file. Default: its file name.
        at_present: order files by the present moment, not by when they were last written.
        max_bytes: files and events larger than this are problems.
    """

    index: str | None = None
    acl: AllowList | None = None
    ttl_seconds: int | None = None
    delete: bool = False
    doc_id: str | None = None
    at_present: bool = False
    max_bytes: int = MAX_EVENT_BYTES
    now_ms: Callable[[], int] = now_ms


Change = DocumentChange | Problem
