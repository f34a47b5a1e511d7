"""The vector store on a Milvus server or on Milvus Lite served over TCP."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from connectors.milvus.collection_requests import STRONG, CollectionRequests, delete_batches, upsert_batches
from connectors.milvus.connection import Deadline, MilvusConnection
from connectors.milvus.errors import TooLate
from connectors.milvus.filters import EVERY_ROW
from connectors.milvus.port import Hit, Row, Vector, VectorStore, WriteMark
from connectors.milvus.presence import Presence
from connectors.milvus.ranking import rank
from connectors.milvus.schema import FLAT, ID, VECTOR, check_dimension, collection_schema, entity, index_params
from connectors.milvus.sealing import Sealer
from connectors.milvus.searching import Searcher
from schemas.errors import Retryable
from schemas.settings import MilvusSettings

if TYPE_CHECKING:
    from pymilvus import MilvusClient

CUSTOMIZED: Final = "Customized"


class MilvusStore(VectorStore):
    """Connects with its first call, and again by itself when the server was away. Pickles as its settings.

    Args:
        uri: http(s)://host:port; of the settings when None. A `.db` file is refused: embedded mode serves those (`LiteServer`).
        token: `user:password` or an API key; of the settings when None.
    """

    def __init__(self, settings: MilvusSettings, uri: str | None = None, token: str | None = None) -> None:
        self._made_of = (settings, uri, token)
        secret = settings.token.get_secret_value() if settings.token is not None else ""
        address = uri if uri is not None else settings.uri or ""
        self._settings = settings
        self._connection = MilvusConnection(address, secret if token is None else token, settings.database or "")
        self._requests = CollectionRequests(self._connection)
        self._searcher = Searcher(self._connection, self._requests, settings)
        self._presences: dict[str, Presence] = {}
        self._sealer = Sealer(self._connection)
        self._writing = threading.Lock()

    def __reduce__(self) -> tuple[type[MilvusStore], tuple[MilvusSettings, str | None, str | None]]:
        return MilvusStore, self._made_of

    @property
    def uri(self) -> str:
        """The server's address, without credentials."""
        return self._connection.uri

    def ensure(self, collection: str, dimension: int) -> None:
        deadline = self._write_deadline()
        call = self._connection.call
        if not call(
            deadline, f"looking for {collection}", lambda client, timeout: client.has_collection(collection, timeout=timeout)
        ):
            call(deadline, f"creating {collection}", lambda client, timeout: _create(client, collection, dimension, timeout))
        description = call(
            deadline, f"describing {collection}", lambda client, timeout: client.describe_collection(collection, timeout=timeout)
        )
        check_dimension(collection, description, dimension)
        is_lite = self._connection.is_lite(deadline)

        def index(client: MilvusClient, timeout: float) -> None:
            # Made after the collection and not with it: a process that died in between left one without index.
            if VECTOR not in client.list_indexes(collection, timeout=timeout):
                client.create_index(collection, index_params(client, self._settings, is_lite=is_lite), timeout=timeout)

        call(deadline, f"indexing {collection}", index)
        self._requests.load(deadline, collection)

    def upsert(self, collection: str, rows: Sequence[Row]) -> WriteMark:
        timestamp = 0
        for batch in upsert_batches(rows):
            entities = [entity(row) for row in batch]
            with self._one_writer(self._write_deadline()) as deadline:
                written = self._connection.call(
                    deadline,
                    f"writing to {collection}",
                    partial(_upsert, collection, entities),
                )
            timestamp = max(timestamp, written)
            # Lite has no timestamps, and neither growing segments.
            if written and self._settings.index_type != FLAT:
                self._sealer.wrote(collection, len(batch))
        return WriteMark(timestamp)

    def wait_visible(self, collection: str, mark: WriteMark, timeout_s: float) -> None:
        if not mark.timestamp:
            return

        def request(client: MilvusClient, timeout: float) -> Any:
            # The server answers once it has taken in everything up to the timestamp, and then it has for all.
            return client.query(
                collection,
                filter=EVERY_ROW,
                output_fields=[ID],
                limit=1,
                timeout=timeout,
                consistency_level=CUSTOMIZED,
                guarantee_timestamp=mark.timestamp,
            )

        self._requests.loaded(Deadline(timeout_s), collection, f"waiting for rows of {collection} to be visible", request)

    def delete(self, collection: str, row_ids: Sequence[str]) -> None:
        for batch in delete_batches(row_ids):
            with self._one_writer(self._write_deadline()) as deadline:
                self._requests.loaded(
                    deadline,
                    collection,
                    f"deleting from {collection}",
                    partial(_delete, collection, batch),
                )

    def vectors(self, collection: str, row_ids: Sequence[str]) -> dict[str, Vector]:
        found = self._requests.fetch(self._write_deadline(), collection, list(dict.fromkeys(row_ids)))
        return dict(zip(found.row_ids, found.vectors, strict=True))

    def row_ids(self, collection: str) -> Iterator[str]:
        return self._requests.ids(self._write_deadline, collection)

    def count(self, collection: str) -> int:
        return self._requests.count(self._write_deadline(), collection, EVERY_ROW, STRONG)

    def search(
        self,
        collection: str,
        vector: Vector,
        limit: int,
        principals: Collection[str] | None,
        now_ms: int,
        timeout_s: float,
    ) -> list[Hit]:
        with self._presence(collection).search():
            return self._searcher.search(Deadline(timeout_s), collection, vector, limit, principals, now_ms)

    def search_rows(self, collection: str, vector: Vector, row_ids: Collection[str], limit: int, timeout_s: float) -> list[Hit]:
        with self._presence(collection).search():
            rows = self._requests.fetch(Deadline(timeout_s), collection, sorted(set(row_ids)))
        return rank(vector, rows.row_ids, rows.doc_keys, rows.vectors, limit)

    def drop(self, collection: str) -> None:
        def request(client: MilvusClient, timeout: float) -> None:
            if client.has_collection(collection, timeout=timeout):
                client.drop_collection(collection, timeout=timeout)

        self._connection.call(self._write_deadline(), f"dropping {collection}", request)
        self._searcher.forget()

    def collections(self) -> list[str]:
        return sorted(
            self._connection.call(
                self._write_deadline(), "listing collections", lambda client, timeout: client.list_collections(timeout=timeout)
            )
        )

    def ping(self, timeout_s: float) -> None:
        self._connection.call(Deadline(timeout_s), "ping", lambda client, timeout: client.list_collections(timeout=timeout))

    def close(self) -> None:
        for presence in list(self._presences.values()):
            presence.close()
        self._connection.close()

    def _presence(self, collection: str) -> Presence:
        presence = self._presences.get(collection)
        if presence is None:
            presence = self._presences.setdefault(collection, Presence(collection, lambda: self._probe(collection)))
        return presence

    def _probe(self, collection: str) -> None:
        """A row of the collection, so that what answers again can search, too. Raises: as `search`."""
        seconds = self._settings.search_timeout_s
        try:
            self._requests.query(Deadline(seconds), collection, EVERY_ROW, [ID], limit=1)
        except TooLate:
            self._connection.renew(Deadline(seconds))
            raise

    def _write_deadline(self) -> Deadline:
        return Deadline(self._settings.write_timeout_s)

    @contextmanager
    def _one_writer(self, deadline: Deadline) -> Iterator[Deadline]:
        """Writes of this process take turns: Lite doesn't support writers side by side."""
        if not self._writing.acquire(timeout=deadline.remaining("waiting for another write")):
            msg = "Milvus: another write of this process is still running"
            raise Retryable(msg)
        try:
            yield deadline
        finally:
            self._writing.release()


def _create(client: MilvusClient, collection: str, dimension: int, timeout: float) -> None:
    from pymilvus.exceptions import MilvusException  # noqa: PLC0415  imported late, as in connection.py

    try:
        client.create_collection(
            collection, schema=collection_schema(client, dimension), consistency_level="Bounded", timeout=timeout
        )
    except MilvusException:
        # Another process may have made it meanwhile; whether it fits is looked at next.
        if not client.has_collection(collection, timeout=timeout):
            raise


def _delete(collection: str, row_ids: list[str], client: MilvusClient, timeout: float) -> None:
    client.delete(collection, ids=row_ids, timeout=timeout)


def _upsert(collection: str, entities: list[dict[str, object]], client: MilvusClient, timeout: float) -> int:
    """The write's timestamp, which the client's own `upsert` drops."""
    result = client._get_connection().upsert_rows(collection, entities, timeout=timeout, context=client._generate_call_context())
    return int(result.timestamp)
