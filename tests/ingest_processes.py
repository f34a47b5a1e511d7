"""The write path in processes of its own, as an operator runs it, on the servers of a test's stack."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import orjson

from tests.stacks import IngestStack
from tests.waiting import wait_until

LANES_OPEN_WITHIN_S = 90


def environment(stack: IngestStack, **more: str) -> dict[str, str]:
    """The stack's settings as a process gets them; what neither names is the product's default."""
    topics = stack.settings.kafka.topics.model_dump()
    values = {
        "DATA_DIR": str(stack.settings.data_dir),
        "KAFKA__BOOTSTRAP_SERVERS": stack.link.bootstrap,
        "MILVUS__URI": stack.milvus_uri,
        "MILVUS__COLLECTION_PREFIX": stack.settings.milvus.collection_prefix,
        "EMBEDDING__KIND": "hashing",
        "EMBEDDING__DIMENSION": "64",
        "INGEST__GARBAGE_GRACE_S": "0",
        "OBSERVABILITY__INGEST_PORT": "0",
        "OBSERVABILITY__LOG_LEVEL": "debug",
        **{f"KAFKA__TOPICS__{name}": topic for name, topic in topics.items()},
        **more,
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    return inherited | {f"RAG_{name.upper()}": value for name, value in values.items()}


def ingest_process(stack: IngestStack, log: Path, *arguments: str, **more: str) -> subprocess.Popen[bytes]:
    """`ragstream ingest`, writing to `log` behind what is there."""
    command = [sys.executable, "-m", "ragstream", "ingest", *arguments]
    with log.open("ab") as output:
        return subprocess.Popen(command, env=environment(stack, **more), stdout=output, stderr=output)


def children_of(pid: int) -> list[int]:
    """Processes that `pid` has started and that run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
        if int(parent) == pid and state != "Z":
            found.append(int(status.parent.name))
    return sorted(found)


def runs(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def opened_lanes(log: Path) -> int:
    """How often a lane was opened, in all lives of the processes together."""
    return log.read_bytes().count(b"lane opened") if log.exists() else 0


def wait_for_lanes(log: Path, lanes: int, process: subprocess.Popen[bytes]) -> None:
    """Until `lanes` were opened, or the process has ended before that."""
    wait_until(partial(_has_opened, log, lanes, process), within_s=LANES_OPEN_WITHIN_S, what=f"{lanes} lanes to open")


def _has_opened(log: Path, lanes: int, process: subprocess.Popen[bytes]) -> bool:
    return opened_lanes(log) >= lanes or process.poll() is not None


def encoded_chunks(log: Path) -> int:
    """Chunks that went through the encoder, in all lives of the processes together."""
    lines = (line for line in log.read_bytes().splitlines() if b'"encoded"' in line)
    return sum(int(orjson.loads(line)["chunks"]) for line in lines)
