"""Questions beside LlamaIndex's hybrid query engine: the same chunks, vectors and questions, on the same cores.

It keeps everything in its own process's memory, its default; ours is asked over HTTP and searches Milvus.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.asking import one_by_one
from benchmarks.child import in_own_process
from benchmarks.ingest import distinct_chunks
from benchmarks.llamaindex import environment
from benchmarks.percentiles import percentiles
from benchmarks.read_server import dumped, read_server
from benchmarks.read_stack import ReadStack, as_json, texts_of
from benchmarks.texts import corpus
from connectors.embedding import create_cache, create_embedder
from connectors.embedding.hardware import choose, detect
from connectors.embedding.model_files import model_folder
from schemas.settings import EmbeddingSettings, Settings

TIMEOUT_S: Final = 600
SKIPPED: Final = 2_000
"""Questions that the other parts may have asked."""
WARM_UP: Final = 10


def measure(stack: ReadStack, *, quick: bool) -> dict[str, Any]:
    """The same questions of both, one caller."""
    samples = 20 if quick else 100
    chosen = list(stack.questions[SKIPPED if len(stack.questions) > SKIPPED + samples else 0 :][: samples + WARM_UP])
    folder = stack.settings.data_dir / "hybrid"
    folder.mkdir(exist_ok=True)
    given = {"settings": dumped(stack.settings), "texts": as_json(stack.texts), "folder": str(folder)}
    exported = in_own_process("benchmarks.hybrid:export", given)
    (folder / "questions.json").write_text(json.dumps(chosen))
    theirs = {
        "defaults": _run(folder, "--precision", "fp32"),
        "same": _run(folder, "--precision", choose(EmbeddingSettings(), detect()).precision),
    }
    with read_server(stack.servers, stack.settings, "hybrid-server") as server:
        ours = one_by_one(server.url, chosen)[WARM_UP:]
    return {"chunks": exported["chunks"], "ours_ms": percentiles([one.took_ms for one in ours]), "theirs": theirs}


def export(settings: dict[str, Any], texts: list[Any], folder: str) -> dict[str, Any]:
    """Chunks with their vectors, most of them from the embedding cache; in a process of its own."""
    parsed, chosen = Settings.model_validate(settings), texts_of(texts)
    embedder = create_embedder(parsed.embedding, parsed.data_dir)
    chunks = list(distinct_chunks(corpus(chosen.history, chosen.scifact, most=chosen.most), embedder).values())
    cache = create_cache(parsed.embedding, parsed.data_dir, embedder.fingerprint)
    known = cache.get_many([chunk.digest for chunk in chunks])
    cache.close()
    missing = [chunk for chunk in chunks if chunk.digest not in known]
    if missing:
        known |= dict(zip((chunk.digest for chunk in missing), embedder.encode([c.text for c in missing]), strict=True))
    np.save(Path(folder) / "vectors.npy", np.stack([known[chunk.digest] for chunk in chunks]))
    (Path(folder) / "texts.json").write_text(json.dumps([chunk.text for chunk in chunks]))
    return {"chunks": len(chunks), "embedded": len(missing)}


def _run(folder: Path, *options: str) -> dict[str, Any]:
    model = str(model_folder(EmbeddingSettings().model))
    command = [str(environment()), "-P", "benchmarks/hybrid_run.py", str(folder), model, "--warm-up", str(WARM_UP), *options]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**found, "took_ms": percentiles(found.pop("times_ms"))}
