"""LlamaIndex's hybrid query engine on chunks with vectors. Runs in an environment of its own and imports nothing of ours.

    .cache/llamaindex/bin/python benchmarks/hybrid_run.py FOLDER MODEL_FOLDER --precision fp32

FOLDER holds texts.json, vectors.npy and questions.json. Vector and BM25 retrievers under a QueryFusionRetriever (reciprocal rank,
one query, no generated ones), in a RetrieverQueryEngine that writes no text.
"""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from llama_index.core import Settings, VectorStoreIndex
from llama_index.core.llms import MockLLM
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.retrievers import QueryFusionRetriever
from llama_index.core.schema import TextNode
from llama_index.embeddings.huggingface import HuggingFaceEmbedding
from llama_index.retrievers.bm25 import BM25Retriever

CANDIDATES = 50
PASSAGES = 5


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--warm-up", type=int, default=10)
    given = parser.parse_args()
    kwargs = {"model_kwargs": {"dtype": torch.bfloat16}} if given.precision == "bf16" else {}
    embedding = HuggingFaceEmbedding(model_name=str(given.model), device="cpu", **kwargs)
    texts = json.loads((given.folder / "texts.json").read_text())
    vectors = np.load(given.folder / "vectors.npy")
    questions = json.loads((given.folder / "questions.json").read_text())
    nodes = [TextNode(id_=str(n), text=text, embedding=vectors[n].tolist()) for n, text in enumerate(texts)]
    index = VectorStoreIndex(nodes, embed_model=embedding)
    Settings.llm = MockLLM()  # it asks for one though it writes nothing
    fused = QueryFusionRetriever(
        [
            index.as_retriever(similarity_top_k=CANDIDATES),
            BM25Retriever.from_defaults(nodes=nodes, similarity_top_k=CANDIDATES),
        ],
        mode="reciprocal_rerank",
        similarity_top_k=PASSAGES,
        num_queries=1,
        use_async=False,
    )
    engine = RetrieverQueryEngine.from_args(fused, response_mode=ResponseMode.NO_TEXT)
    times, found = [], []
    for question in questions:
        began = time.perf_counter()
        response = engine.query(question)
        times.append((time.perf_counter() - began) * 1000)
        found.append(len(response.source_nodes))
    print(
        json.dumps(
            {
                "llama-index-core": version("llama-index-core"),
                "precision": given.precision,
                "nodes": len(nodes),
                "passages": min(found),
                "times_ms": times[given.warm_up :],
            }
        )
    )


if __name__ == "__main__":
    main()
