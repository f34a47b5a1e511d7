"""The encoder on torch: a sentence-transformers model's own modules, called with batches that were tokenised before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import structlog
from tokenizers import Tokenizer

from connectors.embedding.engine import Engine, ModelParts, Unfaithful, check_fidelity, probe
from connectors.embedding.hardware import Choice, Device, Precision
from connectors.embedding.port import Matrix
from connectors.embedding.tokens import PaddedBatch, Tokens
from schemas.errors import Misconfigured

_log = structlog.get_logger(__name__)

# Measured (benchmarks/encoder.py): beyond these, larger batches gain nothing and cost memory and waiting.
CPU_MAX_BATCH: Final = 64
CPU_TOKENS_PER_BATCH: Final = 2048
CUDA_MAX_BATCH: Final = 1024
CUDA_TOKENS_PER_BATCH: Final = 131_072


class TorchEngine:
    """Runs the modules on one device. `embed` and `embed_query` may run at once: a forward pass keeps no state."""

    def __init__(self, model: Any, device: Device, precision: Precision) -> None:
        import torch  # noqa: PLC0415

        self.variant = f"torch {device} {precision}"
        self.max_batch = CUDA_MAX_BATCH if device == "cuda" else CPU_MAX_BATCH
        self.max_tokens_per_batch = CUDA_TOKENS_PER_BATCH if device == "cuda" else CPU_TOKENS_PER_BATCH
        self._torch: Any = torch
        self._device = device
        transformer, *rest = model.eval().to(device)
        # Only the transformer, where the time goes, is coarser: pooling and normalising stay fp32, which costs nothing.
        self._transformer = transformer.to(_dtype(precision))
        self._rest = rest

    def embed(self, batches: Iterable[PaddedBatch]) -> list[Matrix]:
        with self._torch.inference_mode():
            # All are queued before the first result is fetched, so that a GPU is never waited for in between.
            results = [self._forward(batch) for batch in batches]
            return [result.cpu().numpy() for result in results]

    def embed_query(self, batch: PaddedBatch) -> Matrix:
        return self.embed([batch])[0]

    def close(self) -> None:
        self._transformer = None
        self._rest = []
        if self._device == "cuda":
            self._torch.cuda.empty_cache()

    def _forward(self, batch: PaddedBatch) -> Any:
        torch = self._torch
        features = {
            "input_ids": torch.from_numpy(batch.input_ids).to(self._device),
            "attention_mask": torch.from_numpy(batch.attention_mask).to(self._device),
        }
        features = self._transformer(features)
        features["token_embeddings"] = features["token_embeddings"].float()
        for module in self._rest:
            features = module(features)
        return torch.nn.functional.normalize(features["sentence_embedding"].float(), dim=1)


def load_model(folder: Path) -> tuple[Any, ModelParts]:
    """Load a model in fp32 on the processor, and what is needed of it besides its modules.

    Raises:
        Misconfigured: it isn't a sentence-transformers model with a fast tokenizer.
    """
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415  # seconds; the hashing encoder needs none of it
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model: Any = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": "float32"})
        tokenizer: Tokenizer = model.tokenizer.backend_tokenizer
        window = int(model.max_seq_length)
        dimension = int(model.get_embedding_dimension())
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as exc:
        message = f"RAG_EMBEDDING__MODEL: {folder} doesn't hold a sentence-transformers model with a fast tokenizer ({exc})"
        raise Misconfigured(message) from exc
    prompts = model.prompts or {}
    tokens = Tokens(
        tokenizer,
        window,
        pad_id=model.tokenizer.pad_token_id or 0,
        prefix=prompts.get("document") or prompts.get("passage") or "",
    )
    return model, ModelParts(tokens, dimension, prompts.get("query") or "")


def torch_engine(folder: Path, choice: Choice) -> tuple[ModelParts, Engine]:
    """Load a model for the chosen device and precision, compared with fp32 before it is used.

    Raises:
        Misconfigured: the precision that was asked for is too coarse for this model.
    """
    import torch  # noqa: PLC0415

    # Process-wide, and the only time it is set: torch's own default counts cores that this process may not use.
    torch.set_num_threads(choice.threads)
    model, parts = load_model(folder)
    reference = probe(TorchEngine(model, "cpu", "fp32"), parts.tokens)
    engine = TorchEngine(model, choice.device, choice.precision)
    try:
        check_fidelity(probe(engine, parts.tokens), reference, engine.variant)
    except Unfaithful as exc:
        if choice.is_asked:
            message = f"{exc}. Set RAG_EMBEDDING__PRECISION=fp32 or auto."
            raise Misconfigured(message) from exc
        _log.warning("encoder runs in fp32: what this machine is faster at is too coarse for the model", reason=str(exc))
        model, parts = load_model(folder)
        engine = TorchEngine(model, choice.device, "fp32")
    return parts, engine


def _dtype(precision: Precision) -> Any:
    import torch  # noqa: PLC0415

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
