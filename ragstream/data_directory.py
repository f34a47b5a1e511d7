"""The data directory: whether what a process keeps can be kept there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from schemas.errors import Misconfigured

REMEDY: Final = "make it writable for this user, or choose another with RAG_DATA_DIR"


def make(folder: Path) -> None:
    """Make the data directory where there is none, for its owner alone: texts lie in it. Raises: OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def unwritable(folder: Path) -> str | None:
    """Why nothing can be kept in `folder`, which is made where there is none; None where it can."""
    try:
        make(folder)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"ragstream")
            file.flush()
            os.fsync(file.fileno())
    except OSError as exc:
        return exc.strerror or str(exc)
    return None


def require_writable(folder: Path) -> None:
    """Said before servers and models are started. Raises: Misconfigured."""
    problem = unwritable(folder)
    if problem is not None:
        msg = f"the data directory {folder} can't be written: {problem}; {REMEDY}"
        raise Misconfigured(msg)
