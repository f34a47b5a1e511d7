"""Fresh ingest through real Kafka and Milvus against the bare encoder on the same chunks, in turns, servers running."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.documents import live_documents
from benchmarks.encoder import best_raw_rate
from benchmarks.stack import Committed, Servers, cpu_seconds, make_settings, real_stack
from connectors.embedding import Embedder, create_embedder
from connectors.embedding.hardware import choose, detect
from flows.chunking import Chunk, Chunker, ChunkLimits
from schemas.documents import DocumentChange, InlineText
from schemas.settings import EmbeddingSettings

WARM_UP_CHUNKS = 512
"""Until here the pipeline fills and the encoder prepares its kernels; reported, not counted."""
GRID_CHUNKS = 128


class RawRun(NamedTuple):
    """One run of the bare encoder. Its processor time tells more than its rate where others use the cores, too."""

    tokens_per_s: float
    cpu_ms_per_chunk: float


class EncoderTokens:
    """The encoder's own token counts, as the chunker asks for them."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def count(self, texts: Sequence[str]) -> list[int]:
        return self._embedder.count_tokens(texts)


def distinct_chunks(documents: Sequence[DocumentChange], embedder: Embedder) -> dict[str, Chunk]:
    """The chunks that a fresh ingest of `documents` has to embed, by digest."""
    settings = make_settings(Path())
    chunker = Chunker(EncoderTokens(embedder), ChunkLimits.of(settings.chunking, model_tokens=embedder.max_tokens))
    found: dict[str, Chunk] = {}
    for document in documents:
        if isinstance(document.content, InlineText):
            found |= {chunk.digest: chunk for chunk in chunker.chunk(document.content.text, "text/markdown")}
    return found


def measure(servers: Servers, data_dir: Path, documents: Sequence[DocumentChange], *, rounds: int) -> dict[str, Any]:
    """Raw and ingest take turns; the ratio of a round is to the mean of the raw runs before and after it."""
    embedder = create_embedder(EmbeddingSettings(), data_dir)
    chunks = list(distinct_chunks(documents, embedder).values())
    texts, tokens = [chunk.text for chunk in chunks], sum(chunk.tokens for chunk in chunks)
    sample = texts[:: max(1, len(texts) // GRID_CHUNKS)]
    grid = best_raw_rate(sample, choose(EmbeddingSettings(), detect()), data_dir)
    raw_idle = _idle_cpu(servers)
    raws = [_raw_run(grid.encode, texts, tokens)]
    runs: list[dict[str, Any]] = []
    for _ in range(rounds):
        runs.append(ingest_once(servers, data_dir, documents, embedder, len(chunks)))
        raws.append(_raw_run(grid.encode, texts, tokens))
    ratios = [2 * run["steady_tokens_per_s"] / (raws[n].tokens_per_s + raws[n + 1].tokens_per_s) for n, run in enumerate(runs)]
    raw_cpu = [raw.cpu_ms_per_chunk for raw in raws]
    cpu_ratios = [(raw_cpu[n] + raw_cpu[n + 1]) / 2 / run["steady_cpu_ms_per_chunk"] for n, run in enumerate(runs)]
    return {
        "encoder": embedder.variant,
        "documents": len(documents),
        "chunks": len(chunks),
        "tokens": tokens,
        "median_chunk_tokens": statistics.median(chunk.tokens for chunk in chunks),
        "raw_cell": grid.cell,
        "raw_grid_chunks_per_s": {cell: round(rate, 1) for cell, rate in grid.grid.items()},
        "servers_idle_cpu": raw_idle,
        "raw_tokens_per_s": [raw.tokens_per_s for raw in raws],
        "raw_cpu_ms_per_chunk": raw_cpu,
        "ingest": runs,
        "ratios": ratios,
        "cpu_ratios": cpu_ratios,
        "ratio": statistics.median(ratios),
    }


def ingest_once(
    servers: Servers, data_dir: Path, documents: Sequence[DocumentChange], embedder: Embedder, expected: int
) -> dict[str, Any]:
    """Publish everything, then ingest it into an empty index with an empty cache."""
    with tempfile.TemporaryDirectory(dir=data_dir) as folder:
        settings = make_settings(Path(folder))
        with real_stack(servers, settings, embedder) as stack:
            stack.publish(documents)
            began_cpu = {name: cpu_seconds(pid) for name, pid in servers.pids.items()} | {"ingest": time.process_time()}
            runtime = stack.ingest()
            ended_cpu = {name: cpu_seconds(pid) for name, pid in servers.pids.items()} | {"ingest": time.process_time()}
            began = runtime.first_read_s or 0.0
            steady, warm_up = _split(runtime.commits)
            assert sum(commit.chunks for commit in runtime.commits) >= expected, "not every chunk was committed"
    seconds = steady[-1].at_s - warm_up[-1].at_s
    return {
        "steady_tokens_per_s": sum(commit.embedded_tokens for commit in steady) / seconds,
        "steady_chunks_per_s": sum(commit.embedded for commit in steady) / seconds,
        "steady_chunks": sum(commit.embedded for commit in steady),
        "steady_seconds": seconds,
        "steady_cpu_ms_per_chunk": 1000 * (steady[-1].cpu_s - warm_up[-1].cpu_s) / sum(commit.embedded for commit in steady),
        "warm_up_chunks": sum(commit.embedded for commit in warm_up),
        "warm_up_seconds": warm_up[-1].at_s - began,
        "all_chunks_per_s": sum(commit.embedded for commit in runtime.commits) / (steady[-1].at_s - began),
        "all_seconds": steady[-1].at_s - began,
        "cpu_seconds": {name: ended_cpu[name] - began_cpu[name] for name in ended_cpu},
    }


def _split(commits: Sequence[Committed]) -> tuple[Sequence[Committed], Sequence[Committed]]:
    """The steady part, and the warm-up before it."""
    done = 0
    for number, commit in enumerate(commits[:-1]):
        done += commit.embedded
        if done >= WARM_UP_CHUNKS and commits[number + 1].at_s > commit.at_s:
            return commits[number + 1 :], commits[: number + 1]
    msg = f"{done} chunks are too few: the warm-up alone takes {WARM_UP_CHUNKS}"
    raise ValueError(msg)


def _raw_run(encode: Callable[[Sequence[str]], object], texts: Sequence[str], tokens: int) -> RawRun:
    began, began_cpu = time.perf_counter(), time.process_time()
    encode(texts)
    return RawRun(tokens / (time.perf_counter() - began), 1000 * (time.process_time() - began_cpu) / len(texts))


def _idle_cpu(servers: Servers) -> dict[str, float]:
    """Cores that the servers take while nobody asks anything of them."""
    before = {name: cpu_seconds(pid) for name, pid in servers.pids.items()}
    time.sleep(2)
    return {name: (cpu_seconds(pid) - before[name]) / 2 for name, pid in servers.pids.items()}


def run(servers: dict[str, Any], data_dir: str, history: str | None, documents: int, rounds: int) -> dict[str, Any]:
    """`measure`, called from another process."""
    chosen = live_documents(Path(history) if history else None, documents)
    return measure(Servers(**servers), Path(data_dir), chosen, rounds=rounds)
