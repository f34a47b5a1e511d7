"""Do the servers answer, and are they what the promises rest on?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ragstream.doctor.finding import Finding
from schemas.errors import RagError
from schemas.settings import Settings

if TYPE_CHECKING:
    from connectors.milvus import MilvusStore
    from ragstream.reach import Reach

MILVUS_TIMEOUT_S: Final = 10.0
REDIS_TIMEOUT_S: Final = 5.0
LITE: Final = "Milvus Lite"


def found_reach(settings: Settings) -> Reach | None:
    """Where the servers are; None where none is named and no `up` runs."""
    from ragstream.embedded.running import find  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    if settings.kafka.bootstrap_servers is None and find(settings.data_dir) is None:
        return None
    return reach(settings)


def check_kafka(reach: Reach | None) -> Iterator[Finding]:
    """Whether Kafka answers, then every topic's partitions, retention, compaction and sizes."""
    if reach is None:
        yield Finding("kafka", True, "none is named and no `ragstream up` runs: `ragstream up` starts an embedded one")
        return
    from connectors.kafka.topics import check_topics, topic_specs  # noqa: PLC0415

    try:
        findings = check_topics(reach.link, topic_specs(reach.settings))
    except RagError as exc:
        yield Finding("kafka", False, str(exc), "start it, or correct RAG_KAFKA__BOOTSTRAP_SERVERS and its security settings")
        return
    kind = "embedded, of the running `ragstream up`" if reach.link.embedded else "answers"
    yield Finding("kafka", True, f"{reach.link.bootstrap}, {kind}")
    for found in findings:
        yield Finding(f"topic {found.topic}", found.ok, found.problem or "as it must be", found.remedy)


def check_milvus(settings: Settings, dimension: int | None) -> Iterator[Finding]:
    """Whether Milvus answers, which it is, and whether the collections hold vectors of the encoder's dimension."""
    uri = settings.milvus.uri
    if uri is None:
        yield Finding("milvus", True, "none is named and no `ragstream up` runs: `ragstream up` starts an embedded one")
        return
    from connectors.milvus import MilvusStore  # noqa: PLC0415

    store: MilvusStore | None = None
    try:
        version = _milvus_version(settings, uri)
        store = MilvusStore(settings.milvus, uri)
        present = set(store.collections())
        yield Finding("milvus", True, f"{uri}, {version}, {len(present)} collections")
        for index in settings.indexes:
            yield _check_collection(store, settings.collection(index), present, dimension)
    except RagError as exc:
        yield Finding("milvus", False, str(exc), "start it, or correct RAG_MILVUS__URI, __TOKEN and __DATABASE")
    finally:
        if store is not None:
            store.close()


def check_redis(settings: Settings) -> Iterator[Finding]:
    """Whether Redis answers, where one is named."""
    url = settings.redis.url
    if url is None:
        yield Finding("redis", True, "none is named: each process remembers answers, thumbs-downs, repeats and askers by itself")
        return
    import redis  # noqa: PLC0415

    client: redis.Redis | None = None
    try:
        client = redis.Redis.from_url(
            url.get_secret_value(), socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        version = client.info("server")["redis_version"]
    except (redis.RedisError, ValueError, OSError) as exc:
        yield Finding("redis", False, f"{type(exc).__name__}: {exc}", "start it, or correct RAG_REDIS__URL (rediss:// is TLS)")
    else:
        yield Finding("redis", True, f"answers, version {version}")
    finally:
        if client is not None:
            client.close()


def _milvus_version(settings: Settings, uri: str) -> str:
    from connectors.milvus.connection import Deadline, MilvusConnection  # noqa: PLC0415

    token = settings.milvus.token.get_secret_value() if settings.milvus.token is not None else ""
    connection = MilvusConnection(uri, token, settings.milvus.database or "")
    deadline = Deadline(MILVUS_TIMEOUT_S)
    try:
        if connection.is_lite(deadline):
            return LITE
        version = connection.call(deadline, "its version", lambda client, timeout: client.get_server_version(timeout=timeout))
        return f"version {version}"
    finally:
        connection.close()


def _check_collection(store: MilvusStore, name: str, present: set[str], dimension: int | None) -> Finding:
    part = f"collection {name}"
    if name not in present:
        return Finding(part, True, "not there yet: ingest makes it")
    rows = store.count(name)
    first = next(iter(store.row_ids(name)), None) if rows else None
    vectors = store.vectors(name, [first]) if first is not None else {}
    found = len(next(iter(vectors.values()))) if vectors else None
    detail = f"{rows:,} rows" + (f" of {found} dimensions" if found is not None else "")
    if found is not None and dimension is not None and found != dimension:
        problem = f"{detail}; the encoder makes {dimension}"
        remedy = "go back to the former RAG_EMBEDDING__MODEL, or index into a new generation, such as RAG_GENERATION=g2 ("
        return Finding(part, False, problem, f"{remedy}docs/operations.md, A changed model or chunker)")
    return Finding(part, True, detail)
