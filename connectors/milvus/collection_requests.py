"""Requests to one collection, in sizes a server takes; what isn't loaded is loaded on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from connectors.batches import packed
from connectors.milvus.connection import Deadline, MilvusConnection
from connectors.milvus.errors import NotLoaded
from connectors.milvus.filters import between, one_of
from connectors.milvus.port import MAX_LIMIT, Row
from connectors.milvus.schema import COUNT, DOC_KEY, ID, VECTOR, wire_size

if TYPE_CHECKING:
    from pymilvus import MilvusClient

T = TypeVar("T")

# Lite takes 0.1 s for 500 rows, but more than 30 s for 8,000 in one request; its server wants less than 4 MB.
UPSERT_BYTES: Final = 1024 * 1024
UPSERT_ROWS: Final = 500
DELETE_IDS: Final = 1000
# Lite reads 256 vectors in 8 ms, but 1,000 in 450 ms.
FETCH_IDS: Final = 256

STRONG: Final = "Strong"
BOUNDED: Final = "Bounded"
ID_RANGES: Final = 16


class FetchedRows:
    """Ids, keys and vectors side by side, as ranking takes them."""

    def __init__(self) -> None:
        self.row_ids: list[str] = []
        self.doc_keys: list[str] = []
        self._vectors: list[NDArray[np.float32]] = []

    def add(self, entities: Iterable[dict[str, Any]]) -> None:
        for entity in entities:
            self.row_ids.append(entity[ID])
            self.doc_keys.append(entity[DOC_KEY])
            self._vectors.append(entity[VECTOR])

    @property
    def vectors(self) -> NDArray[np.float32]:
        return np.array(self._vectors, dtype=np.float32)


class CollectionRequests:
    """What the store asks of Milvus, beside searching. Every method takes the deadline of the whole call."""

    def __init__(self, connection: MilvusConnection) -> None:
        self._connection = connection

    def loaded(self, deadline: Deadline, collection: str, what: str, request: Callable[[MilvusClient, float], T]) -> T:
        """`request`, once more after loading the collection when that was missing (a server that was restarted forgets)."""
        try:
            return self._connection.call(deadline, what, request)
        except NotLoaded:
            self.load(deadline, collection)
            return self._connection.call(deadline, what, request)

    def load(self, deadline: Deadline, collection: str) -> None:
        what = f"loading {collection}"
        self._connection.call(deadline, what, lambda client, timeout: client.load_collection(collection, timeout=timeout))

    def query(
        self,
        deadline: Deadline,
        collection: str,
        expression: str,
        fields: list[str],
        *,
        limit: int | None = None,
        consistency: str = BOUNDED,
    ) -> Any:
        """Entities that `expression` matches, found without the vector index."""
        options = {} if limit is None else {"limit": limit}

        def request(client: MilvusClient, timeout: float) -> Any:
            return client.query(
                collection,
                filter=expression,
                output_fields=fields,
                timeout=timeout,
                consistency_level=consistency,
                strict_float32=True,
                **options,
            )

        return self.loaded(deadline, collection, f"reading {collection}", request)

    def count(self, deadline: Deadline, collection: str, expression: str, consistency: str) -> int:
        (answer,) = self.query(deadline, collection, expression, [COUNT], consistency=consistency)
        return int(answer[COUNT])

    def fetch(self, deadline: Deadline, collection: str, row_ids: Sequence[str]) -> FetchedRows:
        """Those rows that exist."""
        found = FetchedRows()
        for chunk in _chunks(row_ids, FETCH_IDS):
            found.add(self.query(deadline, collection, one_of(chunk), [ID, DOC_KEY, VECTOR], limit=len(chunk)))
        return found

    def ids(self, deadline: Callable[[], Deadline], collection: str, first: str = "", end: str = "") -> Iterator[str]:
        """All ids in [first, end), in ranges small enough for one answer: Milvus pages only through a stateful cursor."""
        answer = self.query(deadline(), collection, between(first, end), [ID], limit=MAX_LIMIT, consistency=STRONG)
        found = sorted({entity[ID] for entity in answer})
        if len(answer) < MAX_LIMIT:
            yield from found
            return
        # Too many: what came shows how the ids are spread, so cut there. The ranges touch: nothing falls between.
        cuts = [found[place * len(found) // ID_RANGES] for place in range(1, ID_RANGES)]
        bounds = [first, *cuts, found[-1], end]
        for low, high in pairwise(bounds):
            yield from self.ids(deadline, collection, low, high)


def upsert_batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Requests' worth of rows, each id once: the last of several wins (Lite and old servers would keep both)."""
    return packed({row.row_id: row for row in rows}.values(), wire_size, UPSERT_BYTES, UPSERT_ROWS)


def delete_batches(row_ids: Iterable[str]) -> Iterator[list[str]]:
    """Requests' worth of ids, each once."""
    return _chunks(list(dict.fromkeys(row_ids)), DELETE_IDS)


def _chunks(values: Sequence[str], size: int) -> Iterator[list[str]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])
