"""The cache on disk: shared, bounded, and replaced when damaged."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from connectors.embedding import LmdbCache, Vector
from connectors.embedding.lmdb_cache import FOLDER

LIMIT = 4 * 1024 * 1024
ROOT = Path(__file__).parents[4]


def vectors(count: int, prefix: str = "d", dimension: int = 384) -> dict[str, Vector]:
    """Vectors of length 1 by digest, the same for the same arguments."""
    values = np.random.default_rng(count).standard_normal((count, dimension)).astype(np.float32)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    return {f"{prefix}{number}": row for number, row in enumerate(values)}


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[LmdbCache]:
    """A cache in an empty folder."""
    cache = LmdbCache(tmp_path, "model-a", LIMIT)
    yield cache
    cache.close()


def test_survives_a_restart(tmp_path: Path) -> None:
    """What was put is there after closing and opening again."""
    first = LmdbCache(tmp_path, "model-a", LIMIT)
    first.put_many(vectors(10))
    first.close()
    second = LmdbCache(tmp_path, "model-a", LIMIT)
    assert len(second.get_many(list(vectors(10)))) == 10
    second.close()


def test_encoders_do_not_meet(tmp_path: Path, cache: LmdbCache) -> None:
    """Two fingerprints share the file but never a vector; one's closing doesn't close the other."""
    other = LmdbCache(tmp_path, "model-b", LIMIT)
    cache.put_many(vectors(3))
    assert other.get_many(list(vectors(3))) == {}
    other.put_many({"d0": vectors(5)["d4"]})
    other.close()
    assert cache.get_many(["d0"])["d0"] @ vectors(3)["d0"] > 0.999999


def test_half_precision_is_close_enough(cache: LmdbCache) -> None:
    """A cached vector's cosine to the original is above 0.999999."""
    some = vectors(50)
    cache.put_many(some)
    found = cache.get_many(list(some))
    assert min(float(found[digest] @ some[digest]) for digest in some) > 0.999999


def test_file_stays_below_its_limit(tmp_path: Path, cache: LmdbCache) -> None:
    """Ten times what fits is put; the file never outgrows the limit and still holds the newest."""
    for number in range(40):
        cache.put_many(vectors(1280, prefix=f"{number}-"))
    assert (tmp_path / FOLDER / "data.mdb").stat().st_size <= LIMIT
    assert f"{39}-1279" in cache.get_many(["39-1279"])
    assert cache.get_many(["0-0"]) == {}


PROGRAM = """
import sys
from pathlib import Path
from connectors.embedding import LmdbCache
from tests.unit.connectors.embedding.test_lmdb_cache import LIMIT, vectors
cache = LmdbCache(Path(sys.argv[1]), "model-a", LIMIT)
for number in range(20):
    cache.put_many(vectors(100, prefix=f"{sys.argv[2]}-{number % 4}-"))
    assert f"{sys.argv[2]}-0-0" in cache.get_many([f"{sys.argv[2]}-0-0"])
if sys.argv[3] == "kill":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_processes_share_it(tmp_path: Path, cache: LmdbCache) -> None:
    """Three processes write at once, one is killed; all they wrote is there, and the cache goes on."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    children = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path), name, end], env=environment)
        for name, end in (("a", "-"), ("b", "kill"), ("c", "-"))
    ]
    cache.put_many(vectors(100, prefix="mine-"))
    assert [child.wait(timeout=25) for child in children] == [0, -9, 0]
    for prefix in ("mine-", *(f"{name}-{number}-" for name in "abc" for number in range(4))):
        expected = vectors(100, prefix=prefix)
        assert len(cache.get_many(list(expected))) == 100


def damage(file: Path, how: str) -> None:
    """Do to a file what disks and power cuts do."""
    size = file.stat().st_size
    with file.open("r+b") as data:
        match how:
            case "garbage":
                data.write(os.urandom(size))
            case "cut off":
                data.truncate(size // 2)
            case "emptied inside":
                data.seek(2 * 4096)
                data.write(bytes(size - 2 * 4096))


@pytest.mark.parametrize("how", ["garbage", "cut off", "emptied inside"])
def test_damaged_file_is_replaced(tmp_path: Path, how: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file is moved aside, which the log says, and a fresh one works; nothing wrong is ever returned."""
    first = LmdbCache(tmp_path, "model-a", LIMIT)
    first.put_many(vectors(200))
    first.close()
    damage(tmp_path / FOLDER / "data.mdb", how)

    second = LmdbCache(tmp_path, "model-a", LIMIT)
    assert second.get_many(list(vectors(200))) == {}
    second.put_many(vectors(200))
    assert len(second.get_many(list(vectors(200)))) == 200
    second.close()
    assert list(tmp_path.glob(f"{FOLDER}.damaged-*"))
    captured = capsys.readouterr()
    assert "embedding cache is damaged" in captured.out + captured.err


def test_altered_vector_is_a_miss(tmp_path: Path) -> None:
    """Bytes that changed on disk fail their checksum; the neighbours are still found."""
    first = LmdbCache(tmp_path, "model-a", LIMIT)
    some = vectors(50)
    first.put_many(some)
    first.close()
    file = tmp_path / FOLDER / "data.mdb"
    needle = some["d7"].astype("<f2").tobytes()
    raw = file.read_bytes()
    assert needle in raw
    file.write_bytes(raw.replace(needle, needle[::-1]))
    second = LmdbCache(tmp_path, "model-a", LIMIT)
    assert set(some) - set(second.get_many(list(some))) == {"d7"}
    second.close()


def test_unusable_store_is_only_a_miss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the folder can't be made, the cache misses and says so; ingest goes on."""
    (tmp_path / FOLDER).write_text("in the way")
    cache = LmdbCache(tmp_path, "model-a", LIMIT)
    cache.put_many(vectors(2))
    assert cache.get_many(["d0"]) == {}
    cache.close()
    captured = capsys.readouterr()
    assert "embedding cache can't be used" in captured.out + captured.err


def test_larger_limit_of_another_process_is_taken_over(tmp_path: Path) -> None:
    """A file that has outgrown this process's limit is still read."""
    small = LmdbCache(tmp_path, "model-a", LIMIT)
    small.put_many({"mine": vectors(1)["d0"]})
    program = (
        "import sys; from pathlib import Path; from connectors.embedding import LmdbCache;"
        "from tests.unit.connectors.embedding.test_lmdb_cache import LIMIT, vectors;"
        "cache = LmdbCache(Path(sys.argv[1]), 'model-a', 8 * LIMIT); cache.put_many(vectors(8000))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert (tmp_path / FOLDER / "data.mdb").stat().st_size > LIMIT
    assert set(small.get_many(["mine", "d7999"])) == {"mine", "d7999"}
    small.close()
