"""A cross-encoder of sentence-transformers, on the processor."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import structlog

from schemas.errors import Misconfigured

BATCH: Final = 16

_log = structlog.get_logger(__name__)


class CrossEncoderReranker:
    """Implements `Reranker`. No I/O before `load`, or the first call of `scores`.

    Args:
        model: a folder, or a name on the Hub (with HF_HUB_OFFLINE=1 only its local copy is used).
    """

    def __init__(self, model: str) -> None:
        self._name = model
        self._model: Any = None
        self._problem: Misconfigured | None = None

    def load(self) -> None:
        self._loaded()
        try:
            self.scores("What is it?", ["It is a test."])  # the first one costs more than those that follow
        except Exception as exc:
            message = f"RAG_QUERY__RERANK_MODEL={self._name!r} was loaded and can't score ({type(exc).__name__}: {exc})"
            raise Misconfigured(message) from exc

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        if not texts:
            return []
        model = self._loaded()
        # The tokenizer takes valid Unicode only.
        pairs = [(_valid(question), _valid(text)) for text in texts]
        found = model.predict(pairs, batch_size=BATCH, show_progress_bar=False, activation_fn=self._activation())
        return [float(score) for score in found]

    def close(self) -> None:
        self._model = None

    def _loaded(self) -> Any:
        if self._problem is not None:
            raise self._problem  # it won't be there the next time either, and looking takes seconds
        if self._model is None:
            try:
                self._model = _load(self._name)
            except Misconfigured as exc:
                self._problem = exc
                raise
            _log.info("cross-encoder is ready", model=self._name)
        return self._model

    @staticmethod
    def _activation() -> Any:
        import torch  # noqa: PLC0415  # seconds; only who reranks needs it

        return torch.nn.Sigmoid()


def _load(name: str) -> Any:
    from sentence_transformers import CrossEncoder  # noqa: PLC0415
    from transformers.utils import logging as transformers_logging  # noqa: PLC0415

    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    is_folder = Path(name).is_dir()
    try:
        model: Any = CrossEncoder(name, device="cpu", local_files_only=is_folder, trust_remote_code=False)
        labels = int(model.num_labels)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as exc:
        message = f"RAG_QUERY__RERANK_MODEL={name!r} is no cross-encoder that can be loaded here ({exc})"
        raise Misconfigured(message) from exc
    if labels != 1:
        message = f"RAG_QUERY__RERANK_MODEL={name!r} gives {labels} labels; a cross-encoder that ranks gives one score"
        raise Misconfigured(message)
    return model


def _valid(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
