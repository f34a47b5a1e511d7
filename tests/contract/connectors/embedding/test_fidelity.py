"""The gate: every backend and precision gives fp32's vectors, so they are one family."""

import numpy as np
import pytest

from connectors.embedding import Embedder
from connectors.embedding.port import MIN_COSINE
from tests.contract.connectors.embedding.conftest import REAL, Loader

TEXTS = [
    f"{subject} {verb} {rest}"
    for subject in ("A card", "The transfer", "Your account in another currency", "`create_index()`")
    for verb in ("can be blocked", "takes one working day", "costs 4.50 euros", "raises an error")
    for rest in ("in the app.", "unless it was made at a weekend, when it counts as made on Monday. " * 4, "")
]


@pytest.mark.slow
def test_vectors_are_those_of_fp32(model: Embedder) -> None:
    """Mean cosine to plain sentence-transformers in fp32, short and long texts mixed, is above the gate."""
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415

    from connectors.embedding.model_files import model_folder  # noqa: PLC0415

    plain = SentenceTransformer(str(model_folder("all-MiniLM-L6-v2")), device="cpu")
    expected = plain.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    got = model.encode(TEXTS)
    assert np.mean(np.sum(got * expected, axis=1)) >= MIN_COSINE
    assert np.max(np.abs(np.linalg.norm(got, axis=1) - 1)) < 1e-5


@pytest.mark.slow
def test_family_shares_one_fingerprint(load: Loader) -> None:
    """A rebuild isn't asked for when another backend or precision takes over."""
    encoders = [load(name) for name in REAL]
    assert len({encoder.fingerprint for encoder in encoders}) == 1
    assert len({encoder.variant for encoder in encoders}) > 1


def test_limits_of_the_default_model(model: Embedder) -> None:
    """MiniLM's window is 256 with two special tokens, its vectors have 384 numbers."""
    assert (model.max_tokens, model.dimension) == (254, 384)


def test_truncation_is_said(model: Embedder, capsys: pytest.CaptureFixture[str]) -> None:
    """A text whose end is ignored leaves a line in the log, without the text."""
    model.encode(["secret " * 300])
    captured = capsys.readouterr()
    assert "longer than the model takes" in captured.out + captured.err
    assert "secret" not in captured.out + captured.err
