"""What a server needs and the machine may lack: fetched once into .cache/, by one process at a time."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path

CACHE_DIR = Path(__file__).resolve().parents[2] / ".cache"


class UnavailableError(Exception):
    """A real server can't be had on this machine: what is missing and how to get it, in one line."""

    def __init__(self, server: str, missing: str, remedy: str) -> None:
        super().__init__(f"no {server}: {missing}. To get it: {remedy}")


def fetched_once(folder_name: str, fetch: Callable[[Path], None]) -> Path:
    """Return .cache/`folder_name`, filled by `fetch` if it isn't there yet.

    `fetch` fills an empty folder that takes its final name only when complete, so an interrupted fetch leaves nothing
    that looks whole; a file lock makes test runs side by side fetch once.
    """
    folder = CACHE_DIR / folder_name
    if folder.is_dir():
        return folder
    CACHE_DIR.mkdir(exist_ok=True)
    with (CACHE_DIR / f"{folder_name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        unfinished = CACHE_DIR / f"{folder_name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        fetch(unfinished)
        unfinished.rename(folder)
    return folder
