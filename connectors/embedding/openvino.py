"""The encoder on OpenVINO: faster than torch on processors, and without torch's start once the model is converted.

The model is converted from sentence-transformers' modules once and kept under the data directory. Needs the extra `openvino`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from connectors.embedding.engine import Engine, ModelParts, Unfaithful, check_fidelity, probe
from connectors.embedding.hardware import Choice, Precision
from connectors.embedding.port import Matrix
from connectors.embedding.tokens import PaddedBatch, Tokens

CONVERSION_VERSION: Final = 1
FOLDER: Final = "openvino"

# Measured (benchmarks/encoder.py): one thread a stream, so batches are small.
MAX_BATCH: Final = 32
TOKENS_PER_BATCH: Final = 1024

PRECISION_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoEngine:
    """Runs the converted model: `embed` on as many streams as threads, `embed_query` on a copy compiled for latency."""

    def __init__(self, model_file: Path, precision: Precision, threads: int) -> None:
        import openvino  # noqa: PLC0415

        self.variant = f"openvino cpu {precision}"
        self.max_batch = MAX_BATCH
        self.max_tokens_per_batch = TOKENS_PER_BATCH
        core = openvino.Core()
        model = core.read_model(model_file)
        common = {"INFERENCE_PRECISION_HINT": PRECISION_HINTS[precision], "INFERENCE_NUM_THREADS": threads}
        # A stream a thread beats a thread team on one batch: nothing waits for the slowest thread of each operation.
        bulk = core.compile_model(model, "CPU", {**common, "NUM_STREAMS": threads})
        # Twice as many requests: the next one lies ready while Python, which may be busy elsewhere, takes a result.
        self._queue: Any = openvino.AsyncInferQueue(bulk, 2 * threads)
        single = core.compile_model(model, "CPU", {**common, "NUM_STREAMS": 1})
        self._request: Any = single.create_infer_request()
        self._request_lock = threading.Lock()

    def embed(self, batches: Iterable[PaddedBatch]) -> list[Matrix]:
        results: dict[int, Matrix] = {}

        def keep(request: Any, number: int) -> None:
            results[number] = request.get_output_tensor(0).data.copy()

        self._queue.set_callback(keep)
        for number, batch in enumerate(batches):
            self._queue.start_async(list(batch), number)
        self._queue.wait_all()
        return [results[number] for number in range(len(results))]

    def embed_query(self, batch: PaddedBatch) -> Matrix:
        with self._request_lock:
            self._request.infer(list(batch))
            vectors: Matrix = self._request.get_output_tensor(0).data.copy()
            return vectors

    def close(self) -> None:
        self._queue = None
        self._request = None


def openvino_engine(folder: Path, content: str, choice: Choice, data_dir: Path) -> tuple[ModelParts, Engine]:
    """Return the model's parts and an engine that was compared with torch fp32.

    Args:
        folder: of the model.
        content: hash of its files.
        choice: precision and threads.
        data_dir: converted models are kept in `openvino/` below it.

    Raises:
        Unfaithful: OpenVINO can't convert this model, or gives other vectors.
    """
    converted = data_dir / FOLDER / f"{content}-{CONVERSION_VERSION}-{version('openvino')}"
    if not converted.is_dir():
        _convert(folder, converted)
    tokens = Tokens.load(converted)
    about = json.loads((converted / "about.json").read_text())
    try:
        engine = OpenVinoEngine(converted / "model.xml", choice.precision, choice.threads)
        check_fidelity(probe(engine, tokens), np.load(converted / "probes.npy"), engine.variant)
    except RuntimeError as exc:
        message = f"OpenVINO can't run {converted}: {exc}"
        raise Unfaithful(message) from exc
    return ModelParts(tokens, about["dimension"], about["query_prefix"]), engine


def _convert(folder: Path, target: Path) -> None:
    """Write the converted model, its tokenizer and the probes' fp32 vectors; as a whole or not at all."""
    from connectors.embedding.sentence_transformers import TorchEngine, load_model  # noqa: PLC0415

    model, parts = load_model(folder)
    reference = probe(TorchEngine(model, "cpu", "fp32"), parts.tokens)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=".converting-"))
    try:
        _export(model, staging / "model.xml")
        np.save(staging / "probes.npy", reference)
        parts.tokens.save(staging)
        (staging / "about.json").write_text(json.dumps({"dimension": parts.dimension, "query_prefix": parts.query_prefix}))
        _publish(staging, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        # Another process was faster; what it wrote is the same.
        if not target.is_dir():
            raise


def _export(model: Any, file: Path) -> None:
    import openvino  # noqa: PLC0415
    import torch  # noqa: PLC0415

    example = torch.ones((2, 8), dtype=torch.long)
    dynamic = [-1, -1]
    try:
        with warnings.catch_warnings():
            # Tracing warns of every branch it fixes; that the result is right is checked against the original.
            warnings.simplefilter("ignore")
            converted = openvino.convert_model(
                _traceable(model),
                example_input={"input_ids": example, "attention_mask": example},
                input=[("input_ids", dynamic, openvino.Type.i64), ("attention_mask", dynamic, openvino.Type.i64)],
            )
    except Exception as exc:  # whatever tracing a model's code raises
        message = f"OpenVINO can't convert this model: {exc}"
        raise Unfaithful(message) from exc
    openvino.save_model(converted, file, compress_to_fp16=False)


def _traceable(model: Any) -> Any:
    import torch  # noqa: PLC0415

    class Traceable(torch.nn.Module):
        """The model's modules as one, with the attention mask spelt out: transformers' own making of it can't be traced."""

        def __init__(self) -> None:
            super().__init__()
            first, *rest = model.eval()
            self.transformer = first.auto_model
            self.rest = torch.nn.ModuleList(rest)

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.bfloat16).min
            tokens = self.transformer(input_ids=input_ids, attention_mask=hidden).last_hidden_state
            features = {"token_embeddings": tokens, "attention_mask": attention_mask}
            for module in self.rest:
                features = module(features)
            return torch.nn.functional.normalize(features["sentence_embedding"], dim=1)

    return Traceable().eval()
