"""The embedding cache's LMDB environment: opened once a process, checked, and replaced by a fresh one when it is damaged."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import lmdb
import structlog

_log = structlog.get_logger(__name__)

T = TypeVar("T")

GENERATIONS: Final = (b"generation-0", b"generation-1")
MAX_READERS: Final = 512
DATA_FILE: Final = "data.mdb"

DAMAGED: Final = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.PanicError, lmdb.VersionMismatchError)


class Store(NamedTuple):
    """An open environment, its two generations, and which file it is."""

    env: Any
    generations: tuple[Any, Any]
    inode: int


class SharedStore:
    """The one environment of a folder in this process: LMDB's locks break when a process opens a file twice."""

    _all: Final[dict[Path, SharedStore]] = {}
    _all_lock: Final = threading.Lock()

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._folder = folder
        self._users = 0
        self._lock = threading.Lock()
        self._store: Store | None = None

    @classmethod
    def join(cls, folder: Path, max_bytes: int) -> SharedStore:
        """Return the folder's store, for one more user. Opens nothing yet; the first user's limit holds."""
        with cls._all_lock:
            shared = cls._all.setdefault(folder.resolve(), SharedStore(folder.resolve(), max_bytes))
            shared._users += 1
            return shared

    def leave(self) -> None:
        """One user fewer; the last one closes the environment."""
        with self._all_lock:
            self._users -= 1
            if self._users:
                return
            del self._all[self._folder]
        with self._lock:
            if self._store is not None:
                self._store.env.close()
                self._store = None

    def run(self, action: Callable[[Store], T]) -> T:
        """Do it on the environment, alone in this process; when that turns out damaged, once more on a fresh one.

        Raises:
            lmdb.Error, OSError: what a fresh environment doesn't mend, such as a full disk.
        """
        with self._lock:
            store = self._store = self._store or _open(self._folder, self.max_bytes)
            try:
                return action(store)
            except lmdb.MapResizedError:
                # Another process runs with a larger limit and the file has outgrown ours: take its size over.
                store.env.set_mapsize(0)
                return action(store)
            except DAMAGED as exc:
                self._store = None
                store.env.close()
                self._store = _open(self._folder, self.max_bytes, damaged=(store.inode, exc))
                return action(self._store)


def _open(folder: Path, max_bytes: int, *, damaged: tuple[int, Exception] | None = None) -> Store:
    """Open or create. What is `damaged` (file and reason), or turns out to be, is moved aside before."""
    with _alone(folder):
        # Another process may have replaced the damaged file while this one waited.
        if damaged is not None and damaged[0] == _inode(folder):
            _move_aside(folder, damaged[1])
        try:
            return _checked(folder, max_bytes)
        except DAMAGED as exc:
            _move_aside(folder, exc)
            return _checked(folder, max_bytes)


def _checked(folder: Path, max_bytes: int) -> Store:
    folder.mkdir(parents=True, exist_ok=True)
    # sync off: a power cut may damage the file, and a cache may be lost; a killed process damages nothing. The map is address
    # space, not disk: the file grows as it is filled.
    env = lmdb.open(
        str(folder), map_size=max_bytes, max_dbs=len(GENERATIONS), sync=False, metasync=False, max_readers=MAX_READERS
    )
    try:
        data = folder / DATA_FILE
        used = (env.info()["last_pgno"] + 1) * env.stat()["psize"]
        if data.stat().st_size < used:
            # Reading behind the end of a mapped file kills the process (SIGBUS), so look before.
            message = f"{data} is cut off: {data.stat().st_size} bytes, should be {used}"
            raise lmdb.CorruptedError(message)
        # Slots of readers that were killed would keep their pages for ever.
        env.reader_check()
        first, second = (env.open_db(name) for name in GENERATIONS)
        return Store(env, (first, second), _inode(folder))
    except BaseException:
        env.close()
        raise


def _inode(folder: Path) -> int:
    try:
        return (folder / DATA_FILE).stat().st_ino
    except FileNotFoundError:
        return 0


def _move_aside(folder: Path, why: Exception) -> None:
    target = folder.with_name(f"{folder.name}.damaged-{time.time_ns()}")
    folder.rename(target)
    _log.warning("embedding cache is damaged: starting a fresh one; delete the old one", moved_to=str(target), error=str(why))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Between processes: one at a time opens or replaces."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
