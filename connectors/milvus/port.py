"""What a vector store does. Two adapters: `MilvusStore` (a Milvus server or Milvus Lite) and `MemoryVectorStore`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from schemas.acl import AllowList

Vector: TypeAlias = NDArray[np.float32]

NEVER: Final = 0
"""`expires_at_ms` of a row that does not expire."""

MAX_LIMIT: Final = 16_384
"""Hits that one search returns at most: what Milvus allows."""


class Row(NamedTuple):
    """A chunk as the store keeps it. Its text is not here: that comes from the manifest.

    Attributes:
        row_id: 32 hex characters (`schemas.index.row_id`).
        doc_key: `index/doc_id`.
        allow: principals as `schemas.acl` has them; empty: nobody but the operator.
        expires_at_ms: from then on no search returns it; `NEVER` (0) for no such time.
    """

    row_id: str
    vector: Vector
    doc_key: str
    allow: AllowList
    expires_at_ms: int


class Hit(NamedTuple):
    """A row that was found. The score is the cosine: higher is better."""

    row_id: str
    doc_key: str
    score: float


class WriteMark(NamedTuple):
    """How far a write got. Of several marks the greatest covers all. `timestamp` is the server's; 0: visible already."""

    timestamp: int


class VectorStore(Protocol):
    """Rows by id in named collections, found by vector. Every call blocks; one writer and many searchers may share a store.

    Raises, from every method:
        Retryable: the server is away, slow or overloaded, or the time is up. The same call may succeed later.
        Misconfigured: credentials, database or collection are missing or wrong; the message says which and the remedy.
        Fatal: the server refused the request itself; trying again would not help.

    `close` is called by whoever made the store, once no call is running.
    """

    def ensure(self, collection: str, dimension: int) -> None:
        """Afterwards the collection exists, is indexed and loaded. Idempotent.

        Raises: Misconfigured, when it holds vectors of another dimension; that takes a new generation, and the message says so.
        """
        ...

    def upsert(self, collection: str, rows: Sequence[Row]) -> WriteMark:
        """Write whole rows, replacing those with the same id; the last of several with one id wins. Idempotent.

        Durable when it returns, but other readers need not see it yet: see `wait_visible`. When it raises, any part of
        the rows may have been written.
        """
        ...

    def wait_visible(self, collection: str, mark: WriteMark, timeout_s: float) -> None:
        """Return once the searches of every client see all that `mark` covers.

        With several replicas of the collection this holds for the replica that was asked.
        """
        ...

    def delete(self, collection: str, row_ids: Sequence[str]) -> None:
        """Delete by id. Idempotent: an id that isn't there is no error. Searches may return it for a moment."""
        ...

    def vectors(self, collection: str, row_ids: Sequence[str]) -> dict[str, Vector]:
        """The vectors of those rows that exist; a row written a moment ago may be missing."""
        ...

    def row_ids(self, collection: str) -> Iterator[str]:
        """Every row's id, once each, in any order, as of now (strongly consistent): for audits.

        Rows that are written or deleted meanwhile may or may not be among them.
        """
        ...

    def count(self, collection: str) -> int:
        """How many rows there are now (strongly consistent)."""
        ...

    def search(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        principals: Collection[str] | None,
        now_ms: int,
        timeout_s: float,
    ) -> list[Hit]:
        """The nearest rows that a caller with `principals` may read and that have not expired, best first, each once.

        A selective caller gets a full result too: `limit` hits wherever that many are readable. `None` is the operator,
        who reads everything; with `now_ms` 0 that is what has expired, too. A name that can't stand in an allow-list is ignored;
        without any, nothing is found.
        """
        ...

    def search_rows(self, collection: str, vector: Vector, row_ids: Collection[str], limit: int, timeout_s: float) -> list[Hit]:
        """The nearest of exactly these rows, best first, scored one by one. The caller has checked access and expiry."""
        ...

    def drop(self, collection: str) -> None:
        """Delete the collection and all it holds. Idempotent."""
        ...

    def collections(self) -> list[str]:
        """Names of all collections, sorted."""
        ...

    def ping(self, timeout_s: float) -> None:
        """Return when the server answers."""
        ...

    def close(self) -> None:
        """Release the connection. Never raises; harmless when repeated."""
        ...


def other_dimension(collection: str, present: int, dimension: int) -> str:
    """What is wrong where a collection and the encoder don't fit, and what to do."""
    return (
        f"{collection} holds vectors of {present} dimensions, the encoder makes {dimension}: go back to the former "
        "RAG_EMBEDDING__MODEL, or index into a new generation, such as RAG_GENERATION=g2 "
        "(docs/operations.md, A changed model or chunker)"
    )
