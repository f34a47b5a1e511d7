"""What a collection looks like: fields, index, search parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from connectors.milvus.port import Row, other_dimension
from schemas.acl import MAX_ALLOW_LIST, MAX_PRINCIPAL_LENGTH
from schemas.errors import Misconfigured
from schemas.settings import MilvusSettings
from schemas.wire import MAX_DOC_ID_LENGTH

if TYPE_CHECKING:
    from pymilvus import CollectionSchema, MilvusClient
    from pymilvus.milvus_client.index import IndexParams

ID: Final = "row_id"
VECTOR: Final = "vector"
DOC_KEY: Final = "doc_key"
ALLOW: Final = "allow"
EXPIRES_AT: Final = "expires_at_ms"
COUNT: Final = "count(*)"

HNSW: Final = "HNSW"
IVF_FLAT: Final = "IVF_FLAT"
FLAT: Final = "FLAT"
METRIC: Final = "COSINE"

MAX_ID_LENGTH: Final = 32
MAX_INDEX_NAME_LENGTH: Final = 48
# Milvus counts bytes where we count characters.
BYTES_PER_CHARACTER: Final = 4
IVF_LISTS: Final = 256
# What a row takes on the wire beside its vector, and a principal or key beside its text.
ROW_OVERHEAD_BYTES: Final = 64
TEXT_OVERHEAD_BYTES: Final = 8


def collection_schema(client: MilvusClient, dimension: int) -> CollectionSchema:
    """One vector field and plain scalars: what both servers have."""
    from pymilvus import DataType  # noqa: PLC0415  imported late, as in connection.py

    doc_key_length = (MAX_INDEX_NAME_LENGTH + 1 + MAX_DOC_ID_LENGTH) * BYTES_PER_CHARACTER
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field(ID, DataType.VARCHAR, is_primary=True, max_length=MAX_ID_LENGTH)
    schema.add_field(VECTOR, DataType.FLOAT_VECTOR, dim=dimension)
    schema.add_field(DOC_KEY, DataType.VARCHAR, max_length=doc_key_length)
    schema.add_field(
        ALLOW,
        DataType.ARRAY,
        element_type=DataType.VARCHAR,
        max_capacity=MAX_ALLOW_LIST,
        max_length=MAX_PRINCIPAL_LENGTH * BYTES_PER_CHARACTER,
    )
    schema.add_field(EXPIRES_AT, DataType.INT64)
    return schema


def index_params(client: MilvusClient, settings: MilvusSettings, *, is_lite: bool) -> IndexParams:
    """The index of the vector field. Lite has FLAT and IVF_FLAT only, and searches 20,000 rows exactly in 3 ms."""
    kind = FLAT if is_lite else settings.index_type
    build: dict[str, int] = {}
    if kind == HNSW:
        build = {"M": settings.hnsw_m, "efConstruction": settings.hnsw_ef_construction}
    elif kind == IVF_FLAT:
        build = {"nlist": IVF_LISTS}
    params = client.prepare_index_params()
    params.add_index(VECTOR, index_type=kind, index_name=VECTOR, metric_type=METRIC, params=build)
    return params


def search_params(ef: int) -> dict[str, object]:
    """For whichever index the collection has: each reads its own parameter and passes over the other's."""
    return {"metric_type": METRIC, "params": {"ef": ef, "nprobe": max(1, min(IVF_LISTS, ef // 4))}}


def check_dimension(collection: str, description: dict[str, Any], dimension: int) -> None:
    """Raises: Misconfigured when the collection is not one of ours, or for vectors of another encoder."""
    fields = {field["name"]: field for field in description["fields"]}
    missing = {ID, VECTOR, DOC_KEY, ALLOW, EXPIRES_AT} - fields.keys()
    if missing:
        names = ", ".join(sorted(missing))
        msg = f"{collection} has no field {names}: it isn't ragstream's. Choose another RAG_MILVUS__COLLECTION_PREFIX"
        raise Misconfigured(msg)
    present = int(fields[VECTOR]["params"]["dim"])
    if present != dimension:
        raise Misconfigured(other_dimension(collection, present, dimension))


def entity(row: Row) -> dict[str, object]:
    """A row as the client takes it; an upsert needs every field."""
    return {ID: row.row_id, VECTOR: row.vector, DOC_KEY: row.doc_key, ALLOW: list(row.allow), EXPIRES_AT: row.expires_at_ms}


def wire_size(row: Row) -> int:
    """About how many bytes the row takes in a request."""
    texts = (row.doc_key, *row.allow)
    return ROW_OVERHEAD_BYTES + row.vector.nbytes + sum(len(text.encode()) + TEXT_OVERHEAD_BYTES for text in texts)
