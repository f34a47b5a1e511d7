"""Encoders and caches as the settings say."""

from pathlib import Path

import pytest

from connectors.embedding import HashingEmbedder, LmdbCache, MemoryCache, NoCache, create_cache, create_embedder
from schemas.errors import Misconfigured
from schemas.settings import EmbeddingSettings


def test_hashing_needs_no_model(tmp_path: Path) -> None:
    """RAG_EMBEDDING__KIND=hashing gives the encoder without one, of the dimension that is set."""
    embedder = create_embedder(EmbeddingSettings(kind="hashing", dimension=64), tmp_path)
    assert isinstance(embedder, HashingEmbedder)
    assert embedder.dimension == 64


def test_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """A folder that holds no model is said, with its name."""
    with pytest.raises(Misconfigured, match=str(tmp_path)):
        create_embedder(EmbeddingSettings(model=str(tmp_path), backend="torch"), tmp_path)


@pytest.mark.parametrize(("kind", "expected"), [("lmdb", LmdbCache), ("memory", MemoryCache), ("off", NoCache)])
def test_cache_is_chosen_by_name(tmp_path: Path, kind: str, expected: type) -> None:
    """RAG_EMBEDDING__CACHE names the cache; none of them touches the disk before its first use."""
    cache = create_cache(EmbeddingSettings.model_validate({"cache": kind}), tmp_path, "model-a")
    assert isinstance(cache, expected)
    cache.close()
    assert list(tmp_path.iterdir()) == []


def test_no_cache_remembers_nothing() -> None:
    """Off is off."""
    cache = NoCache()
    cache.put_many({"a": HashingEmbedder().encode_query("a")})
    assert cache.get_many(["a"]) == {}
