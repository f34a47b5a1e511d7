"""What a check found."""

from __future__ import annotations

from typing import NamedTuple


class Finding(NamedTuple):
    """One thing looked at.

    Attributes:
        part: what it is, `kafka` or `topic rag.documents`.
        ok: whether it is as it must be. detail: what was found. remedy: what to do, where it isn't ok.
    """

    part: str
    ok: bool
    detail: str
    remedy: str = ""
