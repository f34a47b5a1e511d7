"""What a keyword index does. Two adapters: `TantivyIndex` on disk and `MemoryKeywordIndex`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple, Protocol

from schemas.index import DocKey


class KeywordPassage(NamedTuple):
    """A passage to be found, under the title of its document.

    Attributes:
        context: the text that it stands in, its own included: a passage lacks the words that its neighbours say. Empty: it stands
            alone, so its own.
    """

    row_id: str
    text: str
    title: str = ""
    context: str = ""

    @property
    def surroundings(self) -> str:
        return self.context or self.text


class KeywordHit(NamedTuple):
    """A passage that was found. Scores compare within one search only."""

    row_id: str
    key: DocKey
    score: float


class KeywordIndex(Protocol):
    """BM25 over passages. One thread writes; any number search, and see what the last `commit` held.

    Text is only ever text: nothing in a question is read as query syntax. Any string is taken, also one that is not
    valid Unicode.
    """

    @property
    def is_fresh(self) -> bool:
        """Whether it was empty when it was opened, be it new, of another release or damaged: the caller refills it."""
        ...

    def replace(self, key: DocKey, passages: Sequence[KeywordPassage]) -> None:
        """From the next commit on `key` has exactly these passages. Idempotent."""
        ...

    def remove(self, key: DocKey) -> None:
        """From the next commit on `key` has none. Removing what is not there is no error."""
        ...

    def clear(self) -> None:
        """From the next commit on there is nothing in it."""
        ...

    def commit(self) -> None:
        """Make everything so far durable and visible to searches, at once. May block for disk writes."""
        ...

    def search(self, query: str, limit: int, indexes: Collection[str] = ()) -> list[KeywordHit]:
        """The best `limit` passages, best first; of the named indexes only, where any are named.

        Raises: KeywordIndexDamaged.
        """
        ...

    def search_within(self, query: str, limit: int, keys: Collection[DocKey]) -> list[KeywordHit]:
        """The best `limit` passages of these documents, best first; scored as `search` would. Raises: KeywordIndexDamaged."""
        ...

    def close(self) -> None:
        """Release files and threads; what was not committed is lost. Never raises, and may be called again."""
        ...
