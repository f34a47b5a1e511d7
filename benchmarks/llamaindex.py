"""Ours against LlamaIndex's IngestionPipeline: source tokens actually embedded per second, same documents, same model folder.

Its nodes stay in its own memory (no store at all, its default); ours go through Kafka into Milvus.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.documents import live_documents
from benchmarks.ingest import distinct_chunks, ingest_once
from benchmarks.stack import Servers
from connectors.embedding import create_embedder
from connectors.embedding.hardware import choose, detect
from connectors.embedding.model_files import model_folder
from schemas.documents import DocumentChange, InlineText
from schemas.settings import EmbeddingSettings

ENVIRONMENT = Path(".cache/llamaindex")
PACKAGES = ("llama-index-core", "llama-index-embeddings-huggingface", "llama-index-retrievers-bm25")
SAME_BATCH = 32
"""Of the product's encoder on processors."""
TIMEOUT_S = 300


def environment() -> Path:
    """LlamaIndex's own Python; made at the first call. Raises: CalledProcessError, when it can't be installed."""
    python = ENVIRONMENT / "bin" / "python"
    done = ENVIRONMENT / ".installed"
    if done.is_file() and done.read_text() == " ".join(PACKAGES):
        return python
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is not None:
        subprocess.run([uv, "venv", "-q", "--clear", "--no-project", "-p", sys.executable, str(ENVIRONMENT)], check=True)
        # Its nltk refuses data files that uv has linked from its cache.
        install = [uv, "pip", "install", "-q", "-p", str(python), "--link-mode", "copy"]
    else:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "-q"]
    # Our pins of what both need: the same torch and tokenizers, so that the pipelines are compared and not their dependencies.
    subprocess.run([*install, "-c", "constraints.txt", *PACKAGES], check=True)
    done.write_text(" ".join(PACKAGES))
    return python


def measure(servers: Servers, data_dir: Path, documents: Sequence[DocumentChange], *, rounds: int) -> dict[str, Any]:
    """Each round: ours, its defaults, its pipeline with our precision and batch size."""
    python = environment()
    embedder = create_embedder(EmbeddingSettings(), data_dir)
    precision = choose(EmbeddingSettings(), detect()).precision
    chunks = distinct_chunks(documents, embedder)
    texts = {change.doc_id: change.content.text for change in documents if isinstance(change.content, InlineText)}
    result: dict[str, Any] = {"ours": [], "defaults": [], "same": [], "encoder": embedder.variant, "documents": len(texts)}
    with tempfile.TemporaryDirectory(dir=data_dir) as folder:
        file = Path(folder) / "documents.json"
        file.write_text(json.dumps(texts))
        for _ in range(rounds):
            ours = ingest_once(servers, data_dir, documents, embedder, len(chunks))
            result["ours"].append(ours["steady_tokens_per_s"])
            result["defaults"].append(_run(python, file))
            result["same"].append(_run(python, file, "--precision", precision, "--batch", str(SAME_BATCH)))
    for column in ("defaults", "same"):
        rates = [run["source_tokens_embedded_per_s"] for run in result[column]]
        result[f"ratios_to_{column}"] = [ours / rate for ours, rate in zip(result["ours"], rates, strict=True)]
    return result


def _run(python: Path, file: Path, *options: str) -> dict[str, Any]:
    command = [
        str(python),
        "-P",
        "benchmarks/llamaindex_run.py",
        str(file),
        str(model_folder(EmbeddingSettings().model)),
        *options,
    ]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(servers: dict[str, Any], data_dir: str, history: str | None, documents: int, rounds: int) -> dict[str, Any]:
    """`measure`, called from another process."""
    chosen = live_documents(Path(history) if history else None, documents)
    return measure(Servers(**servers), Path(data_dir), chosen, rounds=rounds)
