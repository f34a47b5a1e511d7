"""The sections of docs/benchmarks.md below the table of goals: how each figure was taken, and what it is made of."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

Result = dict[str, Any]


def ingest_details(result: Result) -> list[str]:
    runs = result["ingest"]
    lines = [
        "## Fresh ingest beside the bare encoder",
        "",
        f"{result['documents']} documents of the history's end, {result['chunks']:,} distinct chunks, {result['tokens']:,} tokens (median chunk "
        f"{result['median_chunk_tokens']:.0f}), encoder {result['encoder']}. All events are in Kafka before the flow starts; index and embedding",
        "cache are empty. Raw and ingest take turns; a round's ratio is to the mean of the raw runs before and after it. Rates are of the",
        "steady state: from the first commit after 512 chunks to the last one; the warm-up stands beside it. The raw side tokenises once,",
        f"sorts all chunks by tokens and uses the best cell of a grid ({result['raw_cell']}), with both servers running idle.",
        "",
        "| round | raw before, tokens/s | ingest, tokens/s | chunks/s | raw after | ratio | warm-up | processor time: ingest, Kafka, Milvus |",
        "|---|---|---|---|---|---|---|---|",
    ]
    raws = result["raw_tokens_per_s"]
    for n, run in enumerate(runs):
        cpu = run["cpu_seconds"]
        times = ", ".join(f"{cpu[name]:.1f} s" for name in ("ingest", "kafka", "milvus") if name in cpu)
        lines.append(
            f"| {n + 1} | {raws[n]:,.0f} | {run['steady_tokens_per_s']:,.0f} | {run['steady_chunks_per_s']:.0f} | {raws[n + 1]:,.0f} | "
            f"{result['ratios'][n]:.2f} | {run['warm_up_chunks']} chunks in {run['warm_up_seconds']:.1f} s | {times} |"
        )
    grid = sorted(result["raw_grid_chunks_per_s"].items(), key=lambda cell: -cell[1])
    if "cpu_ratios" in result:
        of_cpu = ", ".join(f"{one:.2f}" for one in result["cpu_ratios"])
        lines += ["", f"In processor time a chunk, raw ÷ the ingest process (servers not counted, whatever else runs): {of_cpu}."]
    return [*lines, "", "Raw grid, chunks/s: " + "; ".join(f"{cell} {rate:.0f}" for cell, rate in grid) + "."]


def llamaindex_details(result: Result) -> list[str]:
    lines = [
        "## Fresh ingest beside LlamaIndex",
        "",
        "`IngestionPipeline` with `SentenceSplitter()` and `HuggingFaceEmbedding` on the same model folder and threads, in an environment of",
        "its own (`.cache/llamaindex`); its nodes stay in its memory, ours go through Kafka into Milvus. Counted are source tokens that a",
        "vector speaks of: the model cuts off a node beyond its window, and what nodes share counts once.",
        "",
        "| | batch | source tokens embedded/s | share of the text that is embedded |",
        "|---|---|---|---|",
        f"| ours, {result['encoder']} | as planned | {statistics.median(result['ours']):,.0f} | 100 % |",
    ]
    for column, name in (("defaults", "LlamaIndex, its defaults"), ("same", "LlamaIndex, our precision and batch")):
        run = result[column][0]
        rate = statistics.median(one["source_tokens_embedded_per_s"] for one in result[column])
        lines.append(
            f"| {name} ({run['llama-index-core']}, torch {run['precision']}) | {run['batch']} | {rate:,.0f} | "
            f"{run['share_of_source_embedded']:.0%} |"
        )
    return lines


def replay_details(result: Result) -> list[str]:
    run = result["runs"][0]
    return [
        "## Replay",
        "",
        f"{run['events']:,} events of {run['event_bytes']} bytes (title, ACL, version, Markdown), newer versions of 2,000 documents with the same",
        "content, on the 4 partitions of the default topic, through one worker with one thread on real Kafka. From the first read to the last",
        "commit; each event publishes a register record in a transaction. No encoder works: `embeddings` is the encoder's own counter.",
        "",
        "| run | events/s | processor time an event | embeddings | load |",
        "|---|---|---|---|---|",
        *(
            f"| {n + 1} | {one['events_per_s']:,.0f} | {one['cpu_us_per_event']:.0f} µs | {one['embeddings']:.0f} | {one['load']:.1f} |"
            for n, one in enumerate(result["runs"])
        ),
    ]


def latency_details(result: Result) -> list[str]:
    return [
        "## Freshness",
        "",
        "A change of one chunk (new documents, then edits) is sent; from its acknowledgement on its text is asked for through the query path's",
        "retriever and the checks on the view, 2 ms after each miss, until a passage of the vector arm passes. Pauses between samples are",
        "random up to 250 ms. Real: Kafka, Milvus, `ragstream ingest` and the query path are four processes. Embedded: `ragstream up` in one.",
        "",
        "| stack | samples | p50 | p90 | p99 | longest | looks a sample | load |",
        "|---|---|---|---|---|---|---|---|",
        *(
            f"| {name} | {one['samples']} | {one['p50_ms']:.0f} ms | {one['p90_ms']:.0f} ms | {one['p99_ms']:.0f} ms | {one['max_ms']:.0f} ms | "
            f"{one['looks_per_sample']:.1f} | {one['load']:.1f} |"
            for name, one in result.items()
        ),
    ]


def history_details(result: Result) -> list[str]:
    ingest, query = result["ingest"], result["query"]
    lines = ["## The whole history: what edits cost", ""]
    if "edits" in result:
        edits, sources = result["edits"], ingest["vectors_by_source"]
        every = sum(sources.values())
        lines += [
            f"{result['published']['events']:,} events, {edits['revisions']:,} revisions. A touched block is one that the document's previous revision did",
            "not hold, counted with multiplicity (benchmarks/edit_stability.py). Below 1 is possible: an equal text seen anywhere before is not",
            "embedded again.",
            "",
            "| | tokens | ÷ touched |",
            "|---|---|---|",
            f"| in touched blocks | {edits['tokens_in_touched_blocks']:,} | 1 |",
            f"| embedded by the real lane | {ingest['tokens_embedded']:,.0f} | {result['lane_ratio']:.3f} |",
            f"| embedded by the chunker's count, edits only | {edits['edits_embedded']:,} | {edits['ratio_of_edits_only']:.3f} |",
            f"| with reuse of the previous revision only | {edits['tokens_embedded'] + edits['tokens_reused_from_any_earlier_chunk']:,} | "
            f"{edits['ratio_with_previous_revision_only']:.3f} |",
            f"| whole documents | {edits['tokens_whole_documents']:,} | {edits['ratio_of_whole_documents']:.3f} |",
            "",
            f"Vectors of the real lane by source: {sources['revision']:,.0f} carried from the document's last revision "
            f"({sources['revision'] / every:.0%}), {sources['cache']:,.0f} from the cache ({sources['cache'] / every:.0%}), "
            f"{sources['encoder']:,.0f} encoded ({sources['encoder'] / every:.0%}), in {ingest['seconds']:.0f} s.",
            "",
        ]
    return lines + _memory(ingest, query)


def _memory(ingest: Result, query: Result) -> list[str]:
    first, last = ingest["points"][0], ingest["points"][-1]
    per_chunk = 1024 * (last["own"] - first["own"]) / max(1, last["chunks"] - first["chunks"])
    return [
        "## Memory",
        "",
        "| | resident | its own | pages of files |",
        "|---|---|---|---|",
        *(
            f"| {name} | {at['all']:,.0f} MiB | {at['own']:,.0f} | {at['files']:,.0f} |"
            for name, at in (
                ("ingest: encoder loaded", ingest["encoder_loaded_mib"]),
                (f"ingest: after {first['events']:,} events", first),
                (
                    f"ingest: after {last['events']:,} events, {last['known_documents']:,} documents, {last['chunks']:,} chunks",
                    last,
                ),
                ("query worker: encoder loaded", query["encoder_loaded_mib"]),
                ("query worker: view filled", query["view_filled_mib"]),
                ("query worker: after 100 questions", query["after_questions_mib"]),
            )
        ),
        "",
        f"- The ingest process (highest: {ingest['peak_mib']:,.0f} MiB) grows with what its lanes remember: a state for every document ever named "
        f"(deleted ones too) and a digest with a row id for every live chunk, no text. Over this history its own memory grew by {per_chunk:.1f} KiB a",
        "  live chunk, buffers that fill once included (2,048 vectors, the chunker's blocks, Kafka's queues). What is in flight is bounded by",
        "  chunks and bytes; the embedding cache is a file, whose pages count as resident but can be dropped by the system.",
        f"- A query worker (view filled in {query['view_seconds']:.1f} s) keeps manifests in LMDB and the keyword index in Tantivy, both files: their pages",
        "  grow with the index and can be dropped. Its own memory holds a 64 MiB cache of manifests, 4,096 question vectors, and the encoder.",
    ]


def read_details(result: Result) -> list[str]:
    own, index, edits = result["own"], result["index"], result["edits"]
    rates = "; ".join(f"{name} {rate:.0f}" for name, rate in result["encoder"]["questions_per_s"].items())
    lines = [
        "## Reads over HTTP",
        "",
        f"{index['documents']:,} documents, {index['chunks']:,} chunks; `POST /v1/answers`, JSON, extractive answers, one kept connection a caller, no",
        "question twice. Server and caller are two processes and share a monotonic clock: the server notes every call to encoder and Milvus, and",
        "own cost is the caller's wall time less the time in which at least one of them was at work on it. Hand-overs between threads are ours.",
        "",
        *_ms_table(
            [
                ("wall", own["wall_ms"]),
                ("encoder", own["encoder_ms"]),
                ("Milvus", own["milvus_ms"]),
                ("own", own["own_ms"]),
                ("remembered, wall", result["cached"]["wall_ms"]),
            ]
        ),
        "",
        f"Modes: {_counts(own['modes'])}; outcomes: {_counts(own['outcomes'])}; degraded: {_counts(own['degraded'])}. Steps at the median, ms: "
        + ", ".join(f"{name} {took:.2f}" for name, took in result["steps"].items())
        + ".",
        "",
        f"The bare encoder ({result['encoder']['variant']}) on the same kind of questions, questions/s: {rates}.",
        "",
        "| callers | answers/s | p50 | p95 | p99 | outcomes | degraded |",
        "|---|---|---|---|---|---|---|",
        *(
            f"| {one['callers']} | {one['answers_per_s']:.0f} | {one['wall_ms']['p50']:.0f} ms | {one['wall_ms']['p95']:.0f} ms | "
            f"{one['wall_ms']['p99']:.0f} ms | {_counts(one['outcomes'])} | {_counts(one['degraded'])} |"
            for one in result["throughput"]
        ),
        "",
        "### While edits arrive",
        "",
        f"Revisions of the history that hold text never seen before, {edits['events']:,} in {edits['seconds']:.0f} s, so that {edits['chunks_per_s']:.0f} chunks/s have to be",
        f"embedded: 30 % of the {edits['limit_chunks_per_s']:.0f} that the encoder does alone. One caller; `ragstream ingest` runs in both columns.",
        "",
        *_ms_table(
            [
                ("ingest idle", edits["idle_ms"]),
                ("edits arriving", edits["busy_ms"]),
                ("lag that answers stated", edits["stated_lag_ms"]),
            ]
        ),
    ]
    return lines


def stream_details(result: Result) -> list[str]:
    return [
        "## Streams",
        "",
        "A model that says a fixed text stands behind OpenAI's interface and notes when it writes its first token, 50 ms after it was asked; the",
        f"caller notes when the first `delta` event has arrived. {result['asked']} questions ({_counts(result['outcomes'])}); with too little evidence no model is asked.",
        "",
        *_ms_table([("first token → first delta", result["delay_ms"])]),
    ]


def hybrid_details(result: Result) -> list[str]:
    theirs = result["theirs"]
    return [
        "## Beside LlamaIndex's hybrid query engine",
        "",
        f"The same {result['chunks']:,} chunks with the same vectors and the same questions, one caller. Theirs: `VectorStoreIndex` in memory and `BM25Retriever`",
        f"(50 candidates each) under `QueryFusionRetriever`, 5 passages, no text written, llama-index-core {theirs['same']['llama-index-core']}, in its own process. Ours:",
        "over HTTP, through Milvus and the checks on the view, with an extractive answer.",
        "",
        *_ms_table(
            [
                ("ours, over HTTP", result["ours_ms"]),
                ("LlamaIndex, its defaults (fp32)", theirs["defaults"]["took_ms"]),
                (f"LlamaIndex, {theirs['same']['precision']}", theirs["same"]["took_ms"]),
            ]
        ),
    ]


def canary_details(result: Result) -> list[str]:
    ours, refresh = result["ours"], result["refresh"]
    early = f"{ours['above_since_sent']:,} (by at most {ours['above_since_sent_ms']:.0f} ms)"
    return [
        "## Stated lag and true lag",
        "",
        f"{ours['events']:,} events of the history in {ours['published_s']:.0f} s, commits as they were, all reflected after {ours['reflected_s']:.0f} s. The canary changes tiny",
        "documents in every partition and looks whether the view shows them: true lag is the age, from its acknowledgement, of the oldest that is",
        "not visible; stated lag is what an answer made at that moment says. Acknowledged is when it is certainly in the log; counted from before the",
        f"sending, when it can't be yet, points above the line: {early}. Unknown lag was stated at {ours['unknown']} points.",
        "",
        "| | p50 | p95 | p99 | longest |",
        "|---|---|---|---|---|",
        *(
            f"| {name} | {at['p50']:.2f} s | {at['p95']:.2f} s | {at['p99']:.2f} s | {at['max']:.2f} s |"
            for name, at in (
                ("stated", ours["stated_s"]),
                ("true", ours["true_s"]),
                ("stated - true", ours["between_s"]),
                ("LlamaIndex's refresh", refresh["lag_s"]),
            )
        ),
        "",
        f"LlamaIndex: `refresh_ref_docs` with whatever has changed, again and again, {refresh['precision']}, {refresh['window_s']:.0f} s from the history's middle at the same pace;",
        f"{refresh['refreshed']} of {refresh['changes']} changes were in after {refresh['ended_s']:.0f} s, the longest refresh took {refresh['longest_refresh_s']:.1f} s. It embeds a changed document whole.",
        "",
        *_chart(ours["chart"]),
    ]


def _chart(points: Sequence[tuple[float, float, float]]) -> list[str]:
    """Stated lag above true lag over the replay; where the lines cross, an answer was staler than it said."""
    longest_s = max(stated for _, stated, _ in points)
    return [
        "```mermaid",
        "xychart-beta",
        '    title "Lag while the history replays: stated (upper line) and true (lower line)"',
        f'    x-axis "seconds since the first change" {points[0][0]:.0f} --> {points[-1][0]:.0f}',
        f'    y-axis "lag, s" 0 --> {longest_s:.1f}',
        f"    line [{', '.join(f'{stated:.2f}' for _, stated, _ in points)}]",
        f"    line [{', '.join(f'{true:.2f}' for _, _, true in points)}]",
        "```",
    ]


def _ms_table(rows: list[tuple[str, Result]]) -> list[str]:
    return [
        "| | samples | p50 | p95 | p99 | longest |",
        "|---|---|---|---|---|---|",
        *(
            f"| {name} | {at['count']:,} | {at['p50']:.1f} ms | {at['p95']:.1f} ms | {at['p99']:.1f} ms | {at['max']:.1f} ms |"
            for name, at in rows
        ),
    ]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1])) or "none"


DETAILS: dict[str, Callable[[Result], list[str]]] = {
    "ingest": ingest_details,
    "llamaindex": llamaindex_details,
    "replay": replay_details,
    "latency": latency_details,
    "history": history_details,
    "read": read_details,
    "stream": stream_details,
    "hybrid": hybrid_details,
    "canary": canary_details,
}
