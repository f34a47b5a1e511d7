"""For Bytewax's own runner: `python -m bytewax.run flows.ingest.main:flow`, with `-w`, or `-i` and `-a`, as Bytewax has them.

Settings come from RAG_*. The express lane runs beside the flow, in each process of a cluster for its own partitions. What
`ragstream ingest` has besides are exit codes, and the endpoints for health and metrics.
"""

from __future__ import annotations

import atexit
import signal

from bytewax.dataflow import Dataflow

from connectors.embedding import create_cache, create_embedder
from connectors.kafka import KafkaLink
from connectors.milvus import create_vector_store
from connectors.observability import configure_logging
from connectors.parsing import FileParser
from flows.express import ExpressLane
from flows.ingest.flow import ingest_flow
from flows.ingest.runtime import IngestRuntime, Parts
from schemas.errors import Misconfigured
from schemas.settings import load_settings


def flow() -> Dataflow:
    """The dataflow on the servers that RAG_* name; SIGTERM and SIGINT stop it cleanly. Raises: Misconfigured."""
    settings = load_settings()
    if settings.kafka.bootstrap_servers is None or settings.milvus.uri is None:
        msg = "set RAG_KAFKA__BOOTSTRAP_SERVERS and RAG_MILVUS__URI; `ragstream up` runs embedded parts"
        raise Misconfigured(msg)
    configure_logging(settings.observability)
    embedder = create_embedder(settings.embedding, settings.data_dir)
    parts = Parts(
        KafkaLink(settings.kafka, settings.kafka.bootstrap_servers),
        create_vector_store(settings, settings.milvus.uri),
        embedder,
        create_cache(settings.embedding, settings.data_dir, embedder.fingerprint),
        FileParser(settings.parsing),
    )
    runtime = IngestRuntime(settings, parts)
    express = ExpressLane(settings, parts.link, positions=runtime.positions, state_of=runtime.state_of)
    atexit.register(runtime.close)
    atexit.register(express.stop)  # the last one registered is the first to end
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: runtime.stop())
    runtime.start()
    express.start()
    return ingest_flow(runtime)
