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


HostName = Annotated[str, Field(pattern=r"^(\*|(\*\.)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*|\[?[0-9A-Fa-f:.]+\]?)$")]
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[A-Za-z0-9_.\[\]:-]+)$")]


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
    """Redis: remembered answers, thumbs-downs, answers to repeated requests and who asked what, shared by all query workers.
    Without `url` each process keeps its own."""

    url: SecretStr | None = Field(
        None,
        description="redis://… or rediss://…?ssl_ca_certs=FILE&ssl_certfile=FILE&ssl_keyfile=FILE (TLS, mutual TLS).",
    )
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
    patience_s: PositiveSeconds = Field(
        300.0,
        description="A file that is there and can't be read for so long (damaged, too slow) is a dead letter; others wait "
        "for it.",
    )


class IndexSettings(Section):
    """One index: how its documents are ordered, and who may read one that says nothing of it. Where its name has a dash, which a
    shell's variables can't have, it is set as JSON: `RAG_INDEXES='{"my-index": {"versions": "producer"}}'`."""

    description: Annotated[str, Field(max_length=2_000)] = Field(
        "", description="What it holds, in a sentence: for routes to it that have no description of their own."
    )
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
    niceness: Annotated[int, Field(ge=0, le=19)] = Field(
        10,
        description="How far `ragstream ingest` leaves the processor to others of its machine, queries above all; 0: not.",
    )
    kill_at: str | None = Field(None, description="For chaos tests only: POINT:COUNT at which to kill -9 oneself.")
    retry_max_s: PositiveSeconds = Field(5.0, description="Longest pause between tries while a server is away.")


class QuerySettings(Section):
    """The read path."""

    deadline_s: PositiveSeconds = Field(10.0, description="Time for a query that names no deadline.")
    candidates: PositiveInt = Field(100, description="Candidates asked of each retrieval arm at first.")
    max_candidates: PositiveInt = Field(800, description="Candidates asked of each arm at most, when too few survive the checks.")
    max_access_lag_s: PositiveSeconds = Field(
        60.0, description="With a view older than this only documents for everyone are served."
    )
    concurrency: PositiveInt = Field(16, description="Queries worked on side by side, a worker.")
    reply_topics: tuple[str, ...] = Field((), description="JSON list of topics that `reply_to` may name.")
    vector_weight: Annotated[float, Field(ge=0, le=1)] = Field(0.5, description="Share of the vector arm in the fused score.")
    min_support: Annotated[float, Field(ge=0, le=1)] = Field(0.45, description="Evidence below this is no evidence.")
    keyword_commit_s: PositiveSeconds = Field(0.1, description="How often the keyword index takes in what is new.")

    passage_tokens: PositiveInt = Field(400, description="Neighbouring chunks are joined into passages up to this size.")
    rerank: Literal["off", "cross-encoder"] = Field("off", description="Score the best candidates again with a cross-encoder.")
    rerank_model: str = Field("", description="Folder or name of the cross-encoder.")
    rerank_candidates: PositiveInt = 30
    embed_wait_ms: Annotated[float, Field(ge=0)] = Field(
        0.0, description="How long a question waits for others to share the encoder's batch; 0: whatever has arrived meanwhile."
    )
    repeat_ttl_s: PositiveSeconds = Field(600.0, description="A query sent again within this time gets the same answer again.")
    routes_file: Path | None = Field(None, description="YAML file of routes: which indexes to search for which questions.")
    min_route_score: Annotated[float, Field(ge=-1, le=1)] = Field(
        0.4, description="A question less like a route's examples than this goes to all indexes."
    )


class CacheSettings(Section):
    """Remembered answers, used again only while every passage behind them stands. In Redis where one is named."""

    enabled: bool = True
    ttl_s: PositiveSeconds = Field(86_400.0, description="How long an answer is remembered at most.")
    max_entries: PositiveInt = Field(10_000, description="Remembered answers; the least recently used leave first.")
    min_similarity: Annotated[float, Field(ge=0, le=1)] = Field(
        0.90, description="Questions less alike than this are different questions."
    )
    tolerated_error: Annotated[float, Field(ge=0, le=1)] = Field(
        0.02, description="Share of wrong hits that is tolerated: beyond it the threshold rises by itself."
    )
    shadow_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="Share of hits that are answered afresh in the background and compared."
    )
    barred_ttl_s: PositiveSeconds = Field(30 * 86_400.0, description="How long an answer with a thumbs-down is kept out.")


class LlmSettings(Section):
    """The language model. Without one, sentences are quoted from the passages."""

    kind: Literal["extractive", "openai", "local"] = Field(
        "extractive",
        description="openai: any OpenAI-compatible endpoint; local: a small model in this process (extra local-llm).",
    )
    base_url: str | None = Field(None, description="Of the endpoint, such as http://localhost:11434/v1. Empty: OpenAI's own.")
    api_key: SecretStr | None = None
    model: str = Field("", description="Its name at the endpoint.")
    fallback_base_url: str | None = Field(None, description="Endpoint to turn to when the first one fails.")
    fallback_api_key: SecretStr | None = None
    fallback_model: str = ""
    max_tokens: PositiveInt = Field(512, description="Longest answer, in tokens, where the request names none.")
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    context_tokens: PositiveInt = Field(3_000, description="Room for evidence in the prompt, in tokens.")
    first_token_s: PositiveSeconds = Field(5.0, description="How long one try may take to its first token.")
    idle_s: PositiveSeconds = Field(5.0, description="Longest pause between tokens.")
    attempts: PositiveInt = Field(
        3, description="Tries at one endpoint, within the deadline; none after the first token was sent."
    )
    breaker_failures: PositiveInt = Field(5, description="Failures in a row after which an endpoint is left alone for a while.")
    breaker_open_s: PositiveSeconds = Field(5.0, description="How long it is left alone before one query tries it again.")
    prompt_file: Path | None = Field(None, description="Jinja template of the prompt, in place of the one that comes along.")
    condense: bool = Field(True, description="Let the model turn a conversation into a standalone question.")
    price_input: Annotated[float, Field(ge=0)] = Field(0.0, description="Of a million prompt tokens.")
    price_output: Annotated[float, Field(ge=0)] = Field(0.0, description="Of a million completion tokens.")
    currency: str = "USD"


class CanarySettings(Section):
    """A tiny document of its own, changed again and again, by which a query worker checks the lag that it states."""

    interval_s: Annotated[float, Field(ge=0, le=3600)] = Field(
        0.0,
        description="Mean time between two changes; 0: off. Each is an event in the log (and in every replay of it) and an "
        "embedding of one word; 10 is a good value. The query worker then needs Write on the documents' topic.",
    )
    index: IndexName = Field(
        DEFAULT_INDEX, description="Index that its documents belong to; nobody but the operator may read them."
    )
    documents_per_partition: Annotated[int, Field(ge=1, le=1024)] = Field(
        4, description="How many changes may be on their way at a time, a partition of the documents' topic."
    )


class HttpSettings(Section):
    """The HTTP interface of the query process."""

    enabled: bool = True
    host: str = Field("127.0.0.1", description="Embedded mode binds loopback whatever stands here.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8080, description="0: any free port. Taken: `serve` ends; embedded mode takes any other one, if none is named here."
    )
    max_body_kib: PositiveInt = Field(4096, description="Largest request body.")
    concurrency: PositiveInt = Field(64, description="Queries worked on side by side; more are answered 503 with Retry-After.")
    caller_share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.75,
        description="Share of `concurrency` that one caller may take, all anonymous ones together being one; what is beyond is "
        "answered 429 with Retry-After. 1: all of it.",
    )
    keep_alive_s: PositiveSeconds = Field(10.0, description="How often a silent stream sends a comment.")
    allowed_hosts: tuple[HostName, ...] = Field(
        (),
        description="JSON list of names that requests may come by, without ports: `rag.example.com`, `*.example.com`, `*`; "
        "localhost always. Empty: any, but on loopback localhost alone, or any web page could have a name of its own lead there.",
    )
    cors_origins: tuple[Origin, ...] = Field(
        (), description="JSON list of web pages' origins that may read answers: `https://chat.example.com`, `*`. Empty: none."
    )


class AuthSettings(Section):
    """Who asks: API keys from a file, or signed tokens. No credentials: anonymous, which sees only what is for everyone."""

    api_keys_file: Path | None = Field(None, description="YAML file of hashed API keys with principals and scopes.")
    jwt_issuer: str | None = Field(None, description="`iss` that tokens must carry. Empty: no tokens are taken.")
    jwt_audience: str | None = Field(None, description="`aud` that tokens must carry.")
    jwks_url: str | None = Field(None, description="Where the issuer publishes its keys.")
    jwks_file: Path | None = Field(None, description="The issuer's keys in a file, in place of jwks_url.")
    jwks_refresh_s: PositiveSeconds = Field(300.0, description="How often the keys are fetched, in the background.")
    jwt_algorithms: tuple[str, ...] = Field(("RS256", "ES256", "EdDSA"), description="JSON list; no others are taken.")
    jwt_leeway_s: Annotated[float, Field(ge=0)] = Field(30.0, description="How far clocks may differ.")
    jwt_user_claim: str = Field("sub", description="Claim that becomes `user:…`.")
    jwt_groups_claim: str = Field("groups", description="Claim whose values become `group:…`.")
    jwt_scope_claim: str = Field("scope", description="Claim with the scopes: ask, publish:<index>, operate.")
    anonymous_may_ask: bool = Field(
        True, description="Whether HTTP answers those without credentials, from what is for everyone."
    )
    require_signed_queries: bool = Field(
        False, description="Take principals on rag.queries only from a signed token in the message."
    )


class ObservabilitySettings(Section):
    """Logs, metrics and health."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = Field("auto", description="auto: JSON off a terminal.")
    log_texts: bool = Field(False, description="Let document and question texts into logs. For debugging only.")
    host: str = Field("127.0.0.1", description="Address of the metrics and health endpoints.")
    # Ingest's grow upwards from here, one for each of its workers: nothing of `serve` may lie above.
    ingest_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        9464, description="Worker n of `ingest --workers` takes this one + n. 0: any free port."
    )
    query_port: Annotated[int, Field(ge=0, le=65535)] = Field(9463, description="0: any free port.")


class Settings(BaseSettings):
    """The whole tree."""

    model_config = SettingsConfigDict(
        env_prefix="RAG_", env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    data_dir: Path = Field(Path(".ragstream"), description="Journal, views, caches and embedded stores.")
    generation: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=32)] = Field(
        "g1", description="Index generation to work on."
    )
    token: SecretStr | None = Field(
        None,
        description="Signed token (JWT) that `ragstream ask` sends along, where query workers demand one; servers don't use it.",
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
    cache: CacheSettings = CacheSettings()
    llm: LlmSettings = LlmSettings()
    canary: CanarySettings = CanarySettings()
    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    indexes: dict[IndexName, IndexSettings] = Field(
        {DEFAULT_INDEX: IndexSettings()},
        description='The indexes by name: RAG_INDEXES__docs__VERSIONS=producer, or RAG_INDEXES={"my-index": {}}.',
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
    def max_ahead_ms(self) -> int:
        """How far a change's Kafka timestamp may be ahead of Kafka's clock: as far as the most lenient index takes times."""
        return int(max(index.max_future_skew_s for index in self.indexes.values()) * 1000)

    @property
    def missing_allow_lists(self) -> dict[str, AllowList]:
        return {name: index.missing_allow_list for name, index in self.indexes.items()}


def index_assignment(index: str, field: str, value: str) -> str:
    """How a field of an index is set, as a shell takes it: no variable of a shell's has a dash in its name, and an index may."""
    if "-" in index:
        return f'RAG_INDEXES=\'{{"{index}": {{"{field}": "{value}"}}}}\''
    return f"RAG_INDEXES__{index}__{field.upper()}={value}"


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment. Raises: Misconfigured, naming the variable."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as exc:
        msg = f"RAG_ settings: {describe(exc)}. `ragstream config show` lists all of them."
        raise Misconfigured(msg) from exc
