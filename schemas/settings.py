"""Every setting, as one tree. Environment prefix `RAG_`, nested with `__`: `RAG_KAFKA__BOOTSTRAP_SERVERS`, `RAG_MILVUS__URI`.

Read once, in `main`, and passed down; nothing else looks at the environment. Where no server is named, the embedded part
runs in its place. docs/settings.md is generated from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.acl import PUBLIC, AllowList
from schemas.errors import Misconfigured
from schemas.wire import DEFAULT_INDEX, IndexName, describe

MIB: Final = 1024 * 1024

PositiveInt = Annotated[int, Field(ge=1)]
PositiveSeconds = Annotated[float, Field(gt=0)]


class Section(BaseModel):
    """A branch of the tree. A misspelt variable is an error, not a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TopicSettings(Section):
    """Names of the topics."""

    documents: str = "rag.documents"
    index_prefix: str = Field("rag.index", description="The generation follows: rag.index.g1.")
    floors: str = "rag.floors"
    control: str = "rag.control"
    queries: str = "rag.queries"
    answers: str = "rag.answers"
    feedback: str = "rag.feedback"
    dead_letters: str = "rag.dead-letters"


class KafkaSettings(Section):
    """Kafka. Without `bootstrap_servers` librdkafka's in-process broker runs in this process, with a journal beside it."""

    bootstrap_servers: str | None = Field(None, description="host:port,… of the brokers. Empty: embedded broker.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: Path | None = Field(None, description="PEM file of the certificate authority.")
    ssl_certificate_location: Path | None = Field(None, description="PEM file of the client's certificate.")
    ssl_key_location: Path | None = Field(None, description="PEM file of the client's key.")
    ssl_key_password: SecretStr | None = None
    oauth_token_endpoint: str | None = Field(None, description="OAUTHBEARER: token endpoint (OIDC client credentials).")
    oauth_client_id: str | None = None
    oauth_client_secret: SecretStr | None = None
    oauth_scope: str | None = None
    client_id: str = "ragstream"
    ingest_group: str = Field("ragstream-ingest", description="Group under which progress is copied for Kafka's own tools.")
    query_group: str = Field("ragstream-query", description="Group of the query workers.")
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "zstd"
    partitions: PositiveInt = Field(4, description="Partitions of the topics that `topics create` makes.")
    replication_factor: PositiveInt = Field(1, description="Replicas of the topics that `topics create` makes.")
    max_message_bytes: Annotated[int, Field(ge=10_000)] = Field(
        4 * MIB, description="Largest message in any topic; larger manifests become dead letters."
    )
    request_timeout_s: PositiveSeconds = 10.0
    transaction_timeout_s: PositiveSeconds = Field(
        15.0, description="How long a killed writer's open transaction can hold readers back."
    )
    prefetch_kib: PositiveInt = Field(4096, description="Prefetch per consumed partition, KiB.")
    topics: TopicSettings = TopicSettings()


class MilvusSettings(Section):
    """Milvus. Without `uri` a Milvus Lite file under the data directory is used."""

    uri: str | None = Field(None, description="http(s)://host:19530. Empty: embedded Milvus Lite.")
    token: SecretStr | None = Field(None, description="`user:password` or an API key.")
    database: str | None = None
    collection_prefix: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] = "rag"
    index_type: Literal["HNSW", "FLAT", "IVF_FLAT"] = Field("HNSW", description="Milvus Lite always uses what it has.")
    hnsw_m: PositiveInt = 16
    hnsw_ef_construction: PositiveInt = 200
    search_ef: PositiveInt = 128
    search_timeout_s: PositiveSeconds = 2.0
    write_timeout_s: PositiveSeconds = 10.0
    visibility_timeout_s: PositiveSeconds = Field(
        10.0, description="How long one wait for acknowledged rows to be visible may take."
    )


class RedisSettings(Section):
    """Redis. Without `url` caches and limits live in the process."""

    url: SecretStr | None = Field(None, description="redis://… or rediss://… (TLS).")
    timeout_s: PositiveSeconds = 0.2
    key_prefix: str = "rag:"


class EmbeddingSettings(Section):
    """The encoder, and the cache of its vectors."""

    kind: Literal["sentence-transformers", "hashing"] = Field(
        "sentence-transformers", description="hashing: deterministic, no model, for tests and tryouts."
    )
    model: str = Field("all-MiniLM-L6-v2", description="Folder, or a model's name; all-MiniLM-L6-v2 comes with the installation.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    backend: Literal["auto", "torch", "openvino"] = "auto"
    threads: int = Field(0, ge=0, description="0: as many as there are cores.")
    max_batch: int = Field(0, ge=0, description="Texts in one batch of the encoder, at most. 0: as suits backend and device.")
    cache: Literal["lmdb", "memory", "off"] = "lmdb"
    cache_max_mib: PositiveInt = 4096
    dimension: PositiveInt = Field(384, description="Of the hashing encoder; a model knows its own.")


class ChunkingSettings(Section):
    """Sizes in the model's tokens."""

    target_tokens: PositiveInt = 120
    min_tokens: PositiveInt = 48
    max_tokens: PositiveInt = Field(240, description="Capped by what the model takes.")


class ParsingSettings(Section):
    """Limits of the bounded process that parses files."""

    max_input_mib: PositiveInt = 32
    max_output_chars: PositiveInt = 4_000_000
    timeout_s: PositiveSeconds = 30.0
    memory_mib: PositiveInt = 2048
    max_archive_ratio: PositiveInt = Field(100, description="Uncompressed ÷ compressed size of an archive (DOCX, XLSX, EPUB …).")
    max_archive_mib: PositiveInt = Field(256, description="Uncompressed size of an archive.")
    max_archive_entries: PositiveInt = 10_000


class BlobSettings(Section):
    """Where content that is named by a URI may be read from."""

    file_roots: tuple[Path, ...] = Field((), description="JSON list of folders that file:// URIs may point into. Empty: none.")
    max_mib: PositiveInt = 32


class IndexSettings(Section):
    """One index: how its documents are ordered, and who may read one that says nothing of it."""

    description: str = ""
    versions: Literal["timestamp", "producer"] = Field(
        "timestamp", description="What orders a document's changes: event times, or the producer's `version`. Never both."
    )
    missing_acl: Literal["operator", "everyone"] = Field(
        "operator", description="Who may read a document that never carried an ACL."
    )
    max_future_skew_s: PositiveSeconds = Field(300.0, description="Event times further in the future are dead letters.")

    @property
    def missing_allow_list(self) -> AllowList:
        return PUBLIC if self.missing_acl == "everyone" else ()


class IngestSettings(Section):
    """The write path."""

    in_flight_chunks: PositiveInt = Field(256, description="Chunks that a kill can have embedded again, at most, a worker.")
    fetch_messages: PositiveInt = Field(512, description="Messages taken from a partition at once.")
    tick_s: PositiveSeconds = Field(0.25, description="How often an idle lane looks for expired documents and garbage.")
    garbage_grace_s: Annotated[float, Field(ge=0)] = Field(
        30.0, description="How long superseded rows stay: longer than any view's lag."
    )
    kill_at: str | None = Field(None, description="For chaos tests only: POINT:COUNT at which to kill -9 oneself.")
    retry_max_s: PositiveSeconds = Field(5.0, description="Longest pause between tries while a server is away.")


class QuerySettings(Section):
    """The read path."""

    deadline_s: PositiveSeconds = Field(10.0, description="Time for a query that names no deadline.")
    candidates: PositiveInt = Field(50, description="Candidates asked of each retrieval arm at first.")
    max_candidates: PositiveInt = Field(800, description="Candidates asked of each arm at most, when too few survive the checks.")
    max_access_lag_s: PositiveSeconds = Field(
        60.0, description="With a view older than this only documents for everyone are served."
    )
    concurrency: PositiveInt = Field(16, description="Queries worked on side by side, a worker.")
    reply_topics: tuple[str, ...] = Field((), description="JSON list of topics that `reply_to` may name.")
    vector_weight: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="Share of the vector arm in the fused score.")
    min_support: Annotated[float, Field(ge=0, le=1)] = Field(0.45, description="Evidence below this is no evidence.")
    keyword_commit_s: PositiveSeconds = Field(0.1, description="How often the keyword index takes in what is new.")


class ObservabilitySettings(Section):
    """Logs, metrics and health."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: JSON off a terminal.")
    log_texts: bool = Field(False, description="Let document and question texts into logs. For debugging only.")
    host: str = Field("127.0.0.1", description="Address of the metrics and health endpoints.")
    ingest_port: Annotated[int, Field(ge=0, le=65535)] = Field(9464, description="0: any free port.")
    query_port: Annotated[int, Field(ge=0, le=65535)] = Field(9465, description="0: any free port.")


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="RAG_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(Path(".ragstream"), description="Journal, views, caches and embedded stores.")
    generation: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=32)] = Field(
        "g1", description="Index generation to work on."
    )
    kafka: KafkaSettings = KafkaSettings()
    milvus: MilvusSettings = MilvusSettings()
    redis: RedisSettings = RedisSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    parsing: ParsingSettings = ParsingSettings()
    blobs: BlobSettings = BlobSettings()
    ingest: IngestSettings = IngestSettings()
    query: QuerySettings = QuerySettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    indexes: dict[IndexName, IndexSettings] = Field(
        {DEFAULT_INDEX: IndexSettings()}, description="The indexes by name: RAG_INDEXES__docs__VERSIONS=producer."
    )

    @field_validator("indexes")
    @classmethod
    def _default_index_exists(cls, indexes: dict[str, IndexSettings]) -> dict[str, IndexSettings]:
        return {DEFAULT_INDEX: IndexSettings(), **indexes}

    @property
    def index_topic(self) -> str:
        return f"{self.kafka.topics.index_prefix}.{self.generation}"

    def collection(self, index: str) -> str:
        """Name of the vector store's collection for an index of this generation."""
        # Names hold single dashes only, so no two (generation, index) pairs share a collection.
        return f"{self.milvus.collection_prefix}__{self.generation}__{index}".replace("-", "_")

    @property
    def missing_allow_lists(self) -> dict[str, AllowList]:
        return {name: index.missing_allow_list for name, index in self.indexes.items()}


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment. Raises: Misconfigured, naming the variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        msg = f"RAG_ settings: {describe(exc)}. `ragstream config show` lists all of them."
        raise Misconfigured(msg) from exc
