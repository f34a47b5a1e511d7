"""The text of an answer on its way to whoever listens: numbered pieces, and a new attempt where what was said is void."""

from __future__ import annotations

from collections.abc import Callable

from query_api.query import EvidenceWithdrawn, Listen
from schemas.queries import AnswerEvent


class Speech:
    """One query's. Pieces go out in order; access is looked at again before the first one of each attempt.

    Args:
        listen: None where nobody wants pieces: the final event holds the whole text.
        stands: whether what the answer rests on may be shown still.
    """

    def __init__(self, query_id: str, listen: Listen | None, stands: Callable[[], bool]) -> None:
        self._query_id = query_id
        self._listen = listen
        self._stands = stands
        self.attempt = 1
        self.said = 0

    async def say(self, text: str) -> None:
        """The next piece. Raises: EvidenceWithdrawn, at the first byte; what the listener raises."""
        if self._listen is None or not text:
            return
        if not self.said and not self._stands():
            raise EvidenceWithdrawn
        event = AnswerEvent(query_id=self._query_id, kind="delta", attempt=self.attempt, seq=self.said, delta=text)
        self.said += 1
        await self._listen(event)

    def take_back(self) -> None:
        """What was said is void; the next piece, or the final event, is of a new attempt."""
        if self.said:
            self.attempt += 1
            self.said = 0
