"""How fast the encoder is: a grid of backends, precisions and batch sizes, and our own `encode` against the best of it.

    python -m benchmarks.encoder --texts ../shared/data/milvus-docs-history.jsonl.xz --threads 2

`best_raw_rate` is what other benchmarks measure themselves against: texts in, vectors out, tokenised once, sorted by tokens,
nothing of ours but the loading of the model.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from connectors.embedding import create_embedder
from connectors.embedding.hardware import Choice, available_cores, choose, detect
from connectors.embedding.model_files import content_hash, model_folder
from connectors.embedding.openvino import openvino_engine
from connectors.embedding.port import Matrix
from connectors.embedding.sentence_transformers import load_model
from connectors.embedding.tokens import PaddedBatch, Tokens
from schemas.settings import EmbeddingSettings

MODEL = "all-MiniLM-L6-v2"
CPU_BATCHES = (8, 16, 32, 64)
CUDA_BATCHES = (64, 256, 1024)
PADDINGS = (1, 8, 16)
QUESTION = "How do I build an index on a vector field?"
ROUNDS = 4
COLUMNS = f"{'variant':22} {'raw':>8} {'ours':>8} {'ours÷raw':>9} {'cosine':>9} {'question':>9} {'memory':>9}"

Forward = Callable[[Iterable[PaddedBatch]], list[Matrix]]


class RawRate(NamedTuple):
    """The best cell of a grid, the grid (chunks/s), and the cell itself to run again beside what is compared with it.

    `again` takes the texts of the grid, `encode` any.
    """

    chunks_per_s: float
    cell: str
    grid: dict[str, float]
    again: Callable[[], object]
    encode: Callable[[Sequence[str]], object]


def sample_texts(path: Path, count: int, *, low: int = 60, high: int = 132) -> list[str]:
    """Return distinct paragraphs of a history of documents (JSONL, .xz or not) with `low` to `high` tokens each."""
    _, parts = load_model(model_folder(MODEL))
    texts: dict[str, None] = {}
    for paragraphs in _paragraphs(path):
        lengths = parts.tokens.count(paragraphs) if paragraphs else []
        texts |= dict.fromkeys(text for text, tokens in zip(paragraphs, lengths, strict=True) if low <= tokens <= high)
        if len(texts) >= count:
            break
    return list(texts)[:count]


def _paragraphs(path: Path) -> Iterator[list[str]]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else path.open() as lines:
        for line in lines:
            yield [text for text in (json.loads(line).get("content") or "").split("\n\n") if text.strip()]


def best_raw_rate(texts: Sequence[str], choice: Choice, data_dir: Path, *, batches: Sequence[int] = ()) -> RawRate:
    """Return the best rate of the bare model on these texts, over batch sizes, paddings and ways to run it.

    Args:
        texts: to encode; sorted by tokens, tokenised once, which is part of the time.
        choice: backend, device, precision and threads, such as `hardware.choose` returns.
        data_dir: where converted models are kept.
        batches: sizes to try; by default what suits the device.
    """
    tokens, runners = _runners(choice, data_dir)
    sizes = batches or (CUDA_BATCHES if choice.device == "cuda" else CPU_BATCHES)
    ways = {
        f"{name}, batch {size}, padded to {padding}": partial(_once, tokens, forward, size, padding)
        for name, forward in runners.items()
        for size in sizes
        for padding in PADDINGS
    }
    cells = {name: partial(way, texts) for name, way in ways.items()}
    times = best_times(cells)
    cell = min(times, key=lambda name: times[name])
    grid = {name: len(texts) / seconds for name, seconds in times.items()}
    return RawRate(grid[cell], cell, grid, cells[cell], ways[cell])


def _once(tokens: Tokens, forward: Forward, size: int, padding: int, texts: Sequence[str]) -> None:
    ids = sorted(tokens.ids(texts), key=len)
    forward(_pad(ids[start : start + size], padding) for start in range(0, len(ids), size))


def best_times(actions: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, float]:
    """Return each action's shortest time. They take turns, so that a machine that is slower for a while is so for all of them."""
    for action in actions.values():
        action()
    times = dict.fromkeys(actions, float("inf"))
    for _ in range(rounds):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            times[name] = min(times[name], time.perf_counter() - start)
    return times


def _pad(ids: Sequence[Sequence[int]], padding: int) -> PaddedBatch:
    length = -(-max(map(len, ids)) // padding) * padding
    block, mask = (np.zeros((len(ids), length), np.int64) for _ in range(2))
    for row, text in enumerate(ids):
        block[row, : len(text)] = text
        mask[row, : len(text)] = 1
    return PaddedBatch(block, mask)


def _runners(choice: Choice, data_dir: Path) -> tuple[Tokens, dict[str, Forward]]:
    """Return the ways to run a backend as its own documentation shows them."""
    folder = model_folder(MODEL)
    if choice.backend == "torch":
        model, parts = load_model(folder)
        return parts.tokens, {"modules": _torch_forward(model, choice)}
    parts, _ = openvino_engine(folder, content_hash(folder), choice, data_dir)
    file = next((data_dir / "openvino").glob("*/model.xml"))
    return parts.tokens, {
        "one stream": _openvino_forward(file, choice, streams=1),
        "a stream a thread": _openvino_forward(file, choice, streams=choice.threads),
    }


def _torch_forward(model: Any, choice: Choice) -> Forward:
    import torch  # noqa: PLC0415

    torch.set_num_threads(choice.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[choice.precision]
    model = model.eval().to(choice.device).to(dtype)

    def forward(batches: Iterable[PaddedBatch]) -> list[Matrix]:
        with torch.inference_mode():
            results = [
                model(
                    {
                        "input_ids": torch.from_numpy(batch.input_ids).to(choice.device),
                        "attention_mask": torch.from_numpy(batch.attention_mask).to(choice.device),
                    }
                )["sentence_embedding"]
                for batch in batches
            ]
            return [result.float().cpu().numpy() for result in results]

    return forward


def _openvino_forward(file: Path, choice: Choice, *, streams: int) -> Forward:
    import openvino  # noqa: PLC0415

    hint = {"fp32": "f32", "bf16": "bf16"}[choice.precision]
    config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": choice.threads, "NUM_STREAMS": streams}
    queue: Any = openvino.AsyncInferQueue(openvino.Core().compile_model(file, "CPU", config), streams)

    def forward(batches: Iterable[PaddedBatch]) -> list[Matrix]:
        results: dict[int, Matrix] = {}

        def keep(request: Any, number: int) -> None:
            results[number] = request.get_output_tensor(0).data.copy()

        queue.set_callback(keep)
        for number, batch in enumerate(batches):
            queue.start_async(list(batch), number)
        queue.wait_all()
        return [results[number] for number in sorted(results)]

    return forward


def measure(texts: Sequence[str], asked: EmbeddingSettings, data_dir: Path) -> dict[str, Any]:
    """Measure one backend and precision: the raw grid, ours beside its best cell, a question's latency, memory."""
    embedder = create_embedder(asked, data_dir)
    embedder.encode(texts)
    own_memory = _memory_mib()
    raw = best_raw_rate(texts, choose(asked, detect()), data_dir)
    times = best_times({"ours": lambda: embedder.encode(texts), "raw": raw.again}, rounds=2 * ROUNDS)
    np.save(data_dir / "vectors.npy", embedder.encode(texts))
    return {
        "variant": embedder.variant,
        "raw_chunks_per_s": round(len(texts) / times["raw"], 1),
        "raw_best": raw.cell,
        "ours_chunks_per_s": round(len(texts) / times["ours"], 1),
        "ours_to_raw": round(times["raw"] / times["ours"], 3),
        "query_ms": round(_query_ms(lambda: embedder.encode_query(QUESTION)), 2),
        "memory_mib": own_memory,
        "grid": {cell: round(rate, 1) for cell, rate in raw.grid.items()},
    }


def _query_ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(60):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return float(np.median(times[10:])) * 1000


def _memory_mib() -> int:
    # Not getrusage: a child's begins at what its parent had.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    """Measure each variant in a process of its own, and print a line for each."""
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        if arguments.texts_json is None:
            texts_file = data_dir / "texts.json"
            texts_file.write_text(json.dumps(sample_texts(arguments.texts, arguments.count)))
            print(f"{arguments.count} texts, chunks/s\n{COLUMNS}")
            for variant in arguments.variants:
                report(_in_own_process(variant, texts_file, arguments.threads))
        else:
            backend, device, precision = arguments.variants[0].split(":")
            asked = EmbeddingSettings.model_validate(
                {"backend": backend, "device": device, "precision": precision, "threads": arguments.threads}
            )
            # A first start converts the model, which is not to be counted as the encoder's memory: the second one doesn't.
            shared = arguments.texts_json.parent
            print(json.dumps(measure(json.loads(arguments.texts_json.read_text()), asked, shared)))


def report(result: dict[str, Any]) -> None:
    """Print a variant's line of the table, and every cell as JSON below it."""
    print(
        f"{result['variant']:22} {result['raw_chunks_per_s']:8} {result['ours_chunks_per_s']:8} {result['ours_to_raw']:9}"
        f" {result['cosine']:9.6f} {result['query_ms']:6} ms {result['memory_mib']:5} MiB  {result['raw_best']}"
    )
    print(json.dumps(result["grid"]), flush=True)


def _in_own_process(variant: str, texts: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.encoder", "--texts-json", str(texts), "--threads", str(threads)]
    if variant.startswith("openvino"):
        # Converts the model, so that the measured process starts as every later one does.
        create_embedder(EmbeddingSettings(backend="openvino", device="cpu"), texts.parent)
    done = subprocess.run([*command, "--variants", variant], check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    vectors, reference = np.load(texts.parent / "vectors.npy"), texts.parent / "fp32.npy"
    if not reference.exists():
        np.save(reference, vectors)
    result["cosine"] = float(np.mean(np.sum(vectors * np.load(reference), axis=1)))
    return result


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--texts", type=Path, help="documents' history, JSONL or JSONL.xz, with `content`")
    parser.add_argument("--texts-json", type=Path, help="a JSON list of texts; measures one variant and prints JSON")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--threads", type=int, default=available_cores())
    default = ["torch:cpu:fp32", "torch:cpu:bf16", "openvino:cpu:fp32", "openvino:cpu:bf16"]
    parser.add_argument("--variants", nargs="+", default=default, help="backend:device:precision; the first is the reference")
    arguments = parser.parse_args()
    if arguments.texts is None and arguments.texts_json is None:
        parser.error("--texts is needed: a JSONL file of documents with `content`")
    return arguments


if __name__ == "__main__":
    main()
