"""Searches of one Milvus: through the index, or exactly where the index would miss what a caller may read."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from connectors.milvus.collection_requests import BOUNDED, CollectionRequests, FetchedRows
from connectors.milvus.connection import Deadline, MilvusConnection
from connectors.milvus.filters import EVERY_ROW, readable
from connectors.milvus.port import MAX_LIMIT, Hit, Vector
from connectors.milvus.ranking import rank
from connectors.milvus.routing import (
    EXACT_FALLBACK_ROWS,
    Reach,
    Reaches,
    falls_back,
    scores_exactly,
    search_width,
)
from connectors.milvus.schema import DOC_KEY, FLAT, ID, VECTOR, search_params
from schemas.acl import is_principal
from schemas.settings import MilvusSettings

if TYPE_CHECKING:
    from pymilvus import MilvusClient


class Searcher:
    """Finds rows for callers. Safe to use from many threads."""

    def __init__(self, connection: MilvusConnection, requests: CollectionRequests, settings: MilvusSettings) -> None:
        self._connection = connection
        self._requests = requests
        self._settings = settings
        self._reaches = Reaches()

    def search(
        self, deadline: Deadline, collection: str, vector: Vector, limit: int, principals: Collection[str] | None, now_ms: int
    ) -> list[Hit]:
        """As `VectorStore.search`."""
        limit = min(limit, MAX_LIMIT)
        expression = readable(principals, now_ms)
        if expression is None or limit < 1:
            return []
        if self._is_exact(deadline):
            return self._by_index(deadline, collection, vector, limit, expression, limit)
        reach = self._reach(deadline, collection, principals, expression)
        # Where nothing is hidden the index misses nothing either.
        if expression and scores_exactly(reach, limit):
            hits = self._one_by_one(deadline, collection, vector, limit, expression)
            if hits is not None:
                return hits
        width = search_width(reach, limit, self._settings.search_ef)
        found = self._by_index(deadline, collection, vector, limit, expression, width)
        if falls_back(reach, limit, len(found)):
            hits = self._one_by_one(deadline, collection, vector, limit, expression)
            return found if hits is None else hits
        return found

    def forget(self) -> None:
        """Forget what callers could read: a collection was dropped."""
        self._reaches = Reaches()

    def _is_exact(self, deadline: Deadline) -> bool:
        return self._settings.index_type == FLAT or self._connection.is_lite(deadline)

    def _by_index(
        self, deadline: Deadline, collection: str, vector: Vector, limit: int, expression: str, width: int
    ) -> list[Hit]:
        def request(client: MilvusClient, timeout: float) -> Any:
            return client.search(
                collection,
                data=[vector],
                anns_field=VECTOR,
                filter=expression,
                limit=limit,
                output_fields=[DOC_KEY],
                search_params=search_params(width),
                timeout=timeout,
                consistency_level=BOUNDED,
            )

        (found,) = self._requests.loaded(deadline, collection, f"searching {collection}", request)
        hits = {hit["id"]: Hit(hit["id"], hit["entity"][DOC_KEY], float(hit["distance"])) for hit in found}
        return list(hits.values())

    def _one_by_one(self, deadline: Deadline, collection: str, vector: Vector, limit: int, expression: str) -> list[Hit] | None:
        """None where there are more rows than can be scored so."""
        fields, limit_rows = [ID, DOC_KEY, VECTOR], EXACT_FALLBACK_ROWS + 1
        entities = self._requests.query(deadline, collection, expression or EVERY_ROW, fields, limit=limit_rows)
        if len(entities) > EXACT_FALLBACK_ROWS:
            return None
        rows = FetchedRows()
        rows.add(entities)
        return rank(vector, rows.row_ids, rows.doc_keys, rows.vectors, limit)

    def _reach(self, deadline: Deadline, collection: str, principals: Collection[str] | None, expression: str) -> Reach:
        names = None if principals is None else frozenset(filter(is_principal, principals))
        total = self._counted(deadline, collection, None, EVERY_ROW)
        return Reach(total if names is None else self._counted(deadline, collection, names, expression), total)

    def _counted(self, deadline: Deadline, collection: str, names: frozenset[str] | None, expression: str) -> int:
        now = time.monotonic()
        count = self._reaches.get(collection, names, now)
        if count is None:
            count = self._requests.count(deadline, collection, expression, BOUNDED)
            self._reaches.put(collection, names, now, count)
        return count
