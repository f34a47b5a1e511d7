"""Which machine the figures are of: no figure means anything without it."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

from connectors.embedding.hardware import BF16_FLAGS, CPU_FLAGS, available_cores, cpu_flags

PACKAGES = ("bytewax", "confluent-kafka", "pymilvus", "milvus-lite", "torch", "openvino", "sentence-transformers")


def machine() -> dict[str, str]:
    """Processor, memory, system and the versions that matter."""
    return {
        "processor": _first(CPU_FLAGS, r"model name\s*:\s*(.+)") or platform.processor(),
        "family": " ".join(
            filter(None, (_first(CPU_FLAGS, rf"{name}\s*:\s*(.+)") for name in ("cpu family", "model", "stepping")))
        ),
        "cores": str(available_cores()),
        "bf16": ", ".join(sorted(BF16_FLAGS & cpu_flags(CPU_FLAGS))) or "no",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "commit": _commit(),
    }


def load() -> float:
    """The machine's load over the last minute: what else ran there."""
    return os.getloadavg()[0]


def _first(file: Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, file.read_text())
    except OSError:
        return None
    return found.group(1).strip() if found else None


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
