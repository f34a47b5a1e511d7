"""LlamaIndex's IngestionPipeline on documents given as JSON. Runs in an environment of its own and imports nothing of ours.

    .cache/llamaindex/bin/python benchmarks/llamaindex_run.py documents.json MODEL_FOLDER --precision fp32 --batch 10

Source tokens *actually embedded*: the model cuts off what is beyond its window, which is not counted, and overlapping nodes
embed text twice, which is counted once.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import torch
from llama_index.core import Document
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.schema import BaseNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from tokenizers import Tokenizer

WARM_UP_DOCUMENTS = 2


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("documents", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--batch", type=int, default=0, help="0: LlamaIndex's own default")
    given = parser.parse_args()
    kwargs = {"embed_batch_size": given.batch} if given.batch else {}
    if given.precision == "bf16":
        kwargs["model_kwargs"] = {"dtype": torch.bfloat16}
    embedding = HuggingFaceEmbedding(model_name=str(given.model), device="cpu", **kwargs)
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), embedding], disable_cache=True)
    texts = json.loads(given.documents.read_text())
    documents = [Document(text=text, id_=name) for name, text in texts.items()]
    pipeline.run(documents=documents[:WARM_UP_DOCUMENTS])
    began = time.perf_counter()
    nodes = pipeline.run(documents=documents)
    seconds = time.perf_counter() - began
    window = embedding._model.max_seq_length
    embedded, source = embedded_tokens(nodes, texts, given.model, window)
    print(
        json.dumps(
            {
                "llama-index-core": version("llama-index-core"),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "precision": given.precision,
                "batch": embedding.embed_batch_size,
                "chunk_size": 1024,
                "nodes": len(nodes),
                "seconds": seconds,
                "source_tokens": source,
                "source_tokens_embedded": embedded,
                "source_tokens_embedded_per_s": embedded / seconds,
                "share_of_source_embedded": embedded / source,
            }
        )
    )


def embedded_tokens(nodes: list[BaseNode], texts: dict[str, str], model: Path, window: int) -> tuple[int, int]:
    """(source tokens that some vector speaks of, all source tokens)."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    seen: dict[str, list[tuple[int, int]]] = {}
    for node in nodes:
        offsets = tokenizer.encode(node.get_content(), add_special_tokens=False).offsets[: window - 2]
        if offsets:
            seen.setdefault(node.ref_doc_id, []).append((node.start_char_idx, node.start_char_idx + offsets[-1][1]))
    embedded = total = 0
    for name, text in texts.items():
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        ranges = sorted(seen.get(name, []))
        total += len(offsets)
        embedded += sum(any(start <= a and b <= end for start, end in ranges) for a, b in offsets)
    return embedded, total


if __name__ == "__main__":
    main()
