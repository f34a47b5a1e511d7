"""How far behind LlamaIndex is when an index is kept up to date by `refresh_ref_docs`. Runs in an environment of its own.

    .cache/llamaindex/bin/python benchmarks/refresh_run.py changes.json MODEL_FOLDER --limit 60

changes.json: [seconds after the beginning, upsert or delete, path, text]. Whenever something has changed, a refresh takes all
that has changed since it last looked. A change's lag is from its time to the end of the refresh that has it; those that no
refresh has had within the limit count with their age then.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import torch
from llama_index.core import Document, VectorStoreIndex
from llama_index.core.node_parser import SentenceSplitter
from llama_index.embeddings.huggingface import HuggingFaceEmbedding

POLL_S = 0.01


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("changes", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--limit", type=float, required=True, help="seconds")
    given = parser.parse_args()
    kwargs = {"model_kwargs": {"dtype": torch.bfloat16}} if given.precision == "bf16" else {}
    embedding = HuggingFaceEmbedding(model_name=str(given.model), device="cpu", embed_batch_size=given.batch, **kwargs)
    embedding.get_text_embedding("warm up " * 100)
    index = VectorStoreIndex([], embed_model=embedding, transformations=[SentenceSplitter()])
    changes = json.loads(given.changes.read_text())
    lags, refreshes, done = [], [], 0
    began = time.perf_counter()
    while done < len(changes):
        now = time.perf_counter() - began
        if now > given.limit:
            break
        due = done
        while due < len(changes) and changes[due][0] <= now:
            due += 1
        if due == done:
            time.sleep(POLL_S)
            continue
        refresh(index, changes[done:due])
        finished = time.perf_counter() - began
        refreshes.append(finished - now)
        lags += [finished - after for after, _, _, _ in changes[done:due]]
        done = due
    ended = time.perf_counter() - began
    lags += [max(0.0, ended - after) for after, _, _, _ in changes[done:]]
    print(
        json.dumps(
            {
                "changes": len(changes),
                "refreshed": done,
                "refreshes": len(refreshes),
                "longest_refresh_s": max(refreshes, default=0.0),
                "ended_s": ended,
                "precision": given.precision,
                "lags_s": lags,
            }
        )
    )


def refresh(index: VectorStoreIndex, changes: list[tuple[float, str, str, str]]) -> None:
    """The last change of each document counts."""
    last = {path: (op, text) for _, op, path, text in changes}
    upserts = [(path, text) for path, (op, text) in last.items() if op == "upsert" and text.strip()]
    index.refresh_ref_docs([Document(text=text, id_=path) for path, text in upserts])
    for path, (op, _) in last.items():
        if op == "delete" and path in index.ref_doc_info:
            index.delete_ref_doc(path, delete_from_docstore=True)


if __name__ == "__main__":
    main()
