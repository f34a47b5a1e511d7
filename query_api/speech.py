"""The text of an answer on its way to whoever listens: numbered pieces, and a new attempt where what was said is void."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from query_api.query import EvidenceWithdrawn, Listen
from schemas.queries import AnswerEvent

LOOK_EVERY_S: Final = 0.25
"""How old the last look at access may be when a piece goes out. A look costs a fraction of a millisecond."""


class Speech:
    """One query's. Pieces go out in order; access is looked at again before the first one of each attempt, and while it lasts.

    Args:
        listen: None where nobody wants pieces: the final event holds the whole text.
        stands: whether what the answer rests on may be shown still.
    """

    def __init__(
        self, query_id: str, listen: Listen | None, stands: Callable[[], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._query_id = query_id
        self._listen = listen
        self._stands = stands
        self._clock = clock
        self._look_at = 0.0
        self.attempt = 1
        self.said = 0

    async def say(self, text: str) -> None:
        """The next piece. Raises: EvidenceWithdrawn, in place of it; what the listener raises."""
        if self._listen is None or not text:
            return
        if not self.said or self._clock() >= self._look_at:
            if not self._stands():
                raise EvidenceWithdrawn
            self._look_at = self._clock() + LOOK_EVERY_S
        event = AnswerEvent(query_id=self._query_id, kind="delta", attempt=self.attempt, seq=self.said, delta=text)
        self.said += 1
        await self._listen(event)

    def take_back(self) -> None:
        """What was said is void; the next piece, or the final event, is of a new attempt."""
        if self.said:
            self.attempt += 1
            self.said = 0
