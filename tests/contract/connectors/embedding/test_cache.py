"""What every cache of vectors promises."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.embedding import EmbeddingCache, LmdbCache, MemoryCache, Vector

DIMENSION = 48
LIMIT = 1024 * 1024

CacheFactory = Callable[[], EmbeddingCache]


def vector(seed: int) -> Vector:
    """A vector of length 1 that a seed stands for."""
    values = np.random.default_rng(seed).standard_normal(DIMENSION).astype(np.float32)
    return values / np.linalg.norm(values)


@pytest.fixture(params=["memory", "lmdb"])
def make_cache(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CacheFactory]:
    """Makes fresh caches of a small limit, closed at the end."""
    caches: list[EmbeddingCache] = []

    def make() -> EmbeddingCache:
        folder = tmp_path / str(len(caches))
        caches.append(MemoryCache(LIMIT) if request.param == "memory" else LmdbCache(folder, "model-a", LIMIT))
        return caches[-1]

    yield make
    for cache in caches:
        cache.close()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=st.lists(st.dictionaries(st.text(max_size=40), st.integers(0, 2**32)), max_size=4), strange=st.text())
def test_gives_back_what_was_put(make_cache: CacheFactory, rounds: list[dict[str, int]], strange: str) -> None:
    """The last vector put by a digest comes back, normalised and near; what was never put is missing."""
    cache = make_cache()
    expected: dict[str, int] = {}
    for entries in rounds:
        cache.put_many({digest: vector(seed) for digest, seed in entries.items()})
        expected |= entries
    found = cache.get_many([*expected, strange])
    assert set(found) == set(expected)
    for digest, seed in expected.items():
        assert found[digest].dtype == np.float32
        assert found[digest] @ vector(seed) > 0.99999
        assert abs(np.linalg.norm(found[digest]) - 1) < 1e-5


def test_asking_for_nothing_finds_nothing(make_cache: CacheFactory) -> None:
    """Empty requests are fine."""
    cache = make_cache()
    cache.put_many({})
    assert cache.get_many([]) == {}


def test_keeps_its_own_copy(make_cache: CacheFactory) -> None:
    """Changing an array after it was put changes nothing."""
    cache, mine = make_cache(), vector(1)
    cache.put_many({"a": mine})
    mine[:] = 0
    assert cache.get_many(["a"])["a"] @ vector(1) > 0.99999


def test_stays_within_its_limit_and_keeps_what_is_used(make_cache: CacheFactory) -> None:
    """Far more than fits is put: the newest and what is asked for in between survive, the rest is forgotten."""
    cache = make_cache()
    cache.put_many({"used": vector(0)})
    total = LIMIT // DIMENSION
    for start in range(0, total, 100):
        cache.put_many({f"{number}": vector(number) for number in range(start, start + 100)})
        assert "used" in cache.get_many(["used"])
    kept = cache.get_many([f"{number}" for number in range(total)])
    assert f"{total - 1}" in kept
    assert len(kept) < total
    for digest, value in kept.items():
        assert value @ vector(int(digest)) > 0.99999
