"""Builds the encoder and its cache as the settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import structlog

from connectors.embedding.cache import MemoryCache, NoCache
from connectors.embedding.engine import Engine, ModelParts, Unfaithful
from connectors.embedding.fake import HashingEmbedder
from connectors.embedding.hardware import Choice, choose, detect
from connectors.embedding.lmdb_cache import LmdbCache
from connectors.embedding.model_embedder import ModelEmbedder
from connectors.embedding.model_files import content_hash, model_folder
from connectors.embedding.port import Embedder, EmbeddingCache
from schemas.errors import Misconfigured
from schemas.settings import MIB, EmbeddingSettings

_log = structlog.get_logger(__name__)

# The only fidelity class there is: mean cosine to fp32 of at least MIN_COSINE, checked at each start.
FIDELITY: Final = "faithful"


def create_embedder(settings: EmbeddingSettings, data_dir: Path) -> Embedder:
    """Load the encoder, on the best that the machine has unless the settings say otherwise.

    Args:
        settings: what to load.
        data_dir: converted models are kept below it.

    Raises:
        Misconfigured: there is no such model, or the machine lacks what the settings ask for.
    """
    if settings.kind == "hashing":
        return HashingEmbedder(settings.dimension)
    folder = model_folder(settings.model)
    content = content_hash(folder)
    parts, engine = _engine(folder, content, choose(settings, detect()), data_dir)
    # The model's content names it, not where it lies: moving its folder must not ask for a rebuild.
    fingerprint = f"model-{content}:{FIDELITY}:d{parts.dimension}:t{parts.tokens.max_tokens}"
    _log.info("encoder is ready", model=settings.model, variant=engine.variant, fingerprint=fingerprint)
    return ModelEmbedder(parts, engine, fingerprint, max_batch=settings.max_batch)


def create_cache(settings: EmbeddingSettings, data_dir: Path, fingerprint: str) -> EmbeddingCache:
    """Return the cache of an encoder's vectors; the file is opened at the first use."""
    if settings.cache == "off":
        return NoCache()
    max_bytes = settings.cache_max_mib * MIB
    return MemoryCache(max_bytes) if settings.cache == "memory" else LmdbCache(data_dir, fingerprint, max_bytes)


def _engine(folder: Path, content: str, choice: Choice, data_dir: Path) -> tuple[ModelParts, Engine]:
    # Either import takes seconds, and an installation may lack OpenVINO.
    if choice.backend == "openvino":
        from connectors.embedding.openvino import openvino_engine  # noqa: PLC0415

        try:
            return openvino_engine(folder, content, choice, data_dir)
        except Unfaithful as exc:
            if choice.is_asked:
                message = f"RAG_EMBEDDING__BACKEND=openvino: {exc}. Use torch or auto."
                raise Misconfigured(message) from exc
            _log.warning("encoder runs on torch: OpenVINO doesn't suit the model", reason=str(exc))
    from connectors.embedding.sentence_transformers import torch_engine  # noqa: PLC0415

    return torch_engine(folder, choice)
