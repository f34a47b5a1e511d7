"""For chaos tests: kill -9 this process the n-th time it reaches a named point (`RAG_INGEST__KILL_AT=upserted:3`)."""

from __future__ import annotations

import os
import signal

from schemas.errors import Misconfigured

POINTS = ("embedded", "upserted", "produced", "committed")


class FailPoints:
    """Counts how often points are reached. Without a plan it does nothing."""

    def __init__(self, plan: str | None = None) -> None:
        self._point, _, count = (plan or "").partition(":")
        if plan and (self._point not in POINTS or not count.isdigit()):
            msg = f"RAG_INGEST__KILL_AT={plan!r}: must be POINT:COUNT with a point of {', '.join(POINTS)}"
            raise Misconfigured(msg)
        self._left = int(count or 0)

    def reach(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
