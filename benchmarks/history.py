"""A whole edit history through the real lane: what is embedded of what edits touched, and memory of both processes afterwards.

Three processes, as in production: one publishes, one ingests (and is measured), one answers (and is measured).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from benchmarks.child import in_own_process
from benchmarks.edit_stability import MODEL_TOKENS, ModelTokenizer, bundled_tokenizer
from benchmarks.edit_stability import measure as measure_edits
from benchmarks.stack import Servers, Stack, memory_mib, opened_stack, real_stack
from connectors.embedding import HashingEmbedder, create_embedder
from connectors.kafka import KafkaLink
from connectors.milvus import create_vector_store
from flows.chunking import ChunkLimits
from flows.ingest import metrics
from flows.ingest.lane import Lane
from flows.ingest.publishing import Receipt
from flows.ingest.run import run_ingest
from query_api.answer import ExtractiveAnswerer
from query_api.deadline import Deadline
from query_api.metrics import QueryMetrics
from query_api.pipeline import AnswerPipeline, PipelineParts
from query_api.retrieval import Retriever
from query_api.view import IndexView, KafkaViewLog
from ragstream.publishing.jsonl import line_changes
from ragstream.publishing.options import PublishOptions
from schemas.acl import EVERYONE
from schemas.documents import DocumentChange
from schemas.queries import QueryRequest
from schemas.settings import Settings
from tests.waiting import wait_until

QUESTIONS = ("How do I build an index?", "What is a collection?", "How do I install Milvus with Docker?", "delete entities")
SAMPLES = 12
VIEW_TIMEOUT_S = 300


def measure(servers: Servers, settings: Settings, history: Path, *, quick: bool) -> dict[str, Any]:
    """Publish, ingest, read; then the same history through the chunker alone, which knows what the edits touched."""
    common = {"servers": servers._asdict(), "settings": settings.model_dump(mode="json"), "history": str(history), "quick": quick}
    with real_stack(servers, settings, HashingEmbedder(8)):
        in_own_process("benchmarks.history:convert", common)
        published = in_own_process("benchmarks.history:publish", common)
        ingest = in_own_process("benchmarks.history:ingest", common)
        query = in_own_process("benchmarks.history:query", common)
    result = {"published": published, "ingest": ingest, "query": query}
    if not quick:
        limits = ChunkLimits.of(settings.chunking, model_tokens=MODEL_TOKENS)
        chunked = measure_edits(history, ModelTokenizer(bundled_tokenizer()), limits)
        result["edits"] = chunked
        result["lane_ratio"] = ingest["tokens_embedded"] / chunked["tokens_in_touched_blocks"]
    return result


def convert(servers: dict[str, Any], settings: dict[str, Any], history: str, quick: bool) -> dict[str, Any]:
    """A first start converts the model, in memory that later ones don't need."""
    parsed = Settings.model_validate(settings)
    return {"variant": create_embedder(parsed.embedding, parsed.data_dir).variant}


def publish(servers: dict[str, Any], settings: dict[str, Any], history: str, quick: bool) -> dict[str, Any]:
    """Every event, in order; a tenth of them when quick."""
    with opened_stack(Servers(**servers), Settings.model_validate(settings), HashingEmbedder(8)) as stack:
        changes = (change for change in line_changes(Path(history), PublishOptions(acl=(EVERYONE,))))
        valid = (change for change in changes if isinstance(change, DocumentChange))
        return {"events": stack.publish(change for number, change in enumerate(valid) if not quick or number < 450)}


def ingest(servers: dict[str, Any], settings: dict[str, Any], history: str, quick: bool) -> dict[str, Any]:
    """Ingest all of it with the product's encoder, and look at this process's memory on the way."""
    parsed = Settings.model_validate(settings)
    before = memory_mib()
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    embedder.encode(["warm up " * 50] * 64)
    loaded = memory_mib()
    with opened_stack(Servers(**servers), parsed, embedder) as stack:
        return {"start_mib": before, "encoder_loaded_mib": loaded} | _watched(stack)


def _watched(stack: Stack) -> dict[str, Any]:
    runtime = stack.runtime()
    points: list[dict[str, Any]] = []
    lanes: dict[int, Lane] = {}  # the flow closes them before the last receipt is accounted for
    account = runtime.account

    def note(receipt: Receipt) -> None:
        account(receipt)
        done = sum(commit.events for commit in runtime.commits)
        lanes.update({number: opened.lane for number, opened in runtime.lanes.items()})
        points.append({"events": done, **_held(lanes.values()), **memory_mib()})

    runtime.account = note  # type: ignore[method-assign]
    began = time.perf_counter()
    run_ingest(runtime)
    seconds = time.perf_counter() - began
    sources = {name: metrics.CHUNKS.labels(name)._value.get() for name in ("revision", "cache", "encoder")}
    return {
        "seconds": seconds,
        "vectors_by_source": sources,
        "tokens_embedded": metrics.TOKENS_EMBEDDED._value.get(),
        "events": points[-1]["events"],
        "points": points[:: max(1, len(points) // SAMPLES)] + points[-1:],
        "peak_mib": memory_mib()["peak"],
    }


def _held(lanes: Collection[Lane]) -> dict[str, int]:
    """Documents and chunks that the lanes remember."""
    return {"known_documents": sum(len(lane.known) for lane in lanes), "chunks": sum(lane.chunks for lane in lanes)}


def query(servers: dict[str, Any], settings: dict[str, Any], history: str, quick: bool) -> dict[str, Any]:
    """A query worker's parts: encoder, view, both arms; its memory before, with the view, and after questions."""
    parsed, at = Settings.model_validate(settings), Servers(**servers)
    before = memory_mib()
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    embedder.encode_query("warm up")
    loaded = memory_mib()
    view = IndexView(parsed, KafkaViewLog(KafkaLink(parsed.kafka, at.kafka)))
    store = create_vector_store(parsed, at.milvus)
    retriever = Retriever(parsed, store, lambda: view.keyword, embedder)
    began = time.perf_counter()
    view.start()
    wait_until(lambda: view.ready().is_ready, within_s=VIEW_TIMEOUT_S, what="the view")
    opened_s = time.perf_counter() - began
    filled = memory_mib()
    answers = AnswerPipeline(parsed, PipelineParts(view, retriever, ExtractiveAnswerer()), QueryMetrics(CollectorRegistry()))
    answered = asyncio.run(_ask(answers))
    result = {
        "answered": answered,
        "start_mib": before,
        "encoder_loaded_mib": loaded,
        "view_filled_mib": filled,
        "after_questions_mib": memory_mib(),
        "view_seconds": opened_s,
    }
    retriever.close()
    view.stop()
    store.close()
    return result


async def _ask(pipeline: AnswerPipeline) -> int:
    """A hundred different questions; how many got an answer."""
    asked = [QueryRequest(query_id=f"{n}-{text}", question=f"{text} ({n})") for n in range(25) for text in QUESTIONS]
    return sum([(await pipeline.answer(request, Deadline.after(10))).outcome == "answered" for request in asked])
