"""Prometheus metrics of the write path. Names are part of the product: dashboards use them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

EVENTS = Counter("rag_ingest_events_total", "Events by what became of them.", ["outcome"])
DEAD_LETTERS = Counter("rag_ingest_dead_letters_total", "Dead letters by reason.", ["reason"])
CHUNKS = Counter("rag_ingest_chunks_total", "Chunks by where their vector came from: revision, cache, encoder.", ["source"])
TOKENS_EMBEDDED = Counter("rag_ingest_tokens_embedded_total", "Tokens that went through the encoder.")
EMBED_SECONDS = Histogram("rag_ingest_embed_seconds", "Time of one embedding round.")
PUBLISH_SECONDS = Histogram("rag_ingest_publish_seconds", "Time from upsert to commit of one batch.", ["step"])
ROWS_DELETED = Counter("rag_ingest_rows_deleted_total", "Superseded rows deleted.")
GARBAGE = Gauge("rag_ingest_garbage_rows", "Superseded rows waiting for their grace period.")
POSITION = Gauge("rag_ingest_position", "First offset not yet published.", ["partition"])
LAG = Gauge("rag_ingest_lag", "Messages between position and end.", ["partition"])
LOG_START = Gauge("rag_ingest_log_start", "First message that the documents' topic still holds.", ["partition"])
DOCUMENTS = Gauge("rag_ingest_documents", "Documents shown.", ["partition"])
LATENCY = Histogram(
    "rag_ingest_event_latency_seconds",
    "From the event's timestamp in Kafka to its publication.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600),
)
EXPRESS_FLOORS = Counter("rag_express_floors_total", "Floors raised ahead of the write path.")
EXPRESS_UP = Gauge("rag_ingest_express_lane_up", "1 while revocations go ahead of the write path, 0 while they wait for it.")
