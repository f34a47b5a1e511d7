"""The product's query service in a process of its own, with the calls to encoder and Milvus noted: `ragstream serve` otherwise.

    python -m benchmarks.read_server < {"servers": …, "settings": …, "calls": FILE}

Prints the address of its HTTP interface and ends with SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from urllib.error import URLError

from benchmarks.stack import Servers
from benchmarks.timed_calls import CallLog, TimedEmbedder, TimedStore
from query_api.identity.api_keys import append_entry, new_key
from schemas.settings import Settings
from tests.servers.ports import free_ports
from tests.waiting import wait_until

READY_TIMEOUT_S: Final = 180.0
END_TIMEOUT_S: Final = 60.0


class ReadServer(NamedTuple):
    """A server that is ready. `operator_key` is for what only operators are told; callers are anonymous otherwise."""

    url: str
    calls: Path
    pid: int
    operator_key: str


@contextmanager
def read_server(servers: Servers, settings: Settings, name: str) -> Iterator[ReadServer]:
    """For the length of the block; `name` keeps its files apart from those of others. Raises: TimeoutError."""
    (port,) = free_ports(1)
    folder = settings.data_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    http = settings.http.model_copy(update={"port": port})
    operator = new_key(["user:benchmark"], ["operate"])
    keys = folder / "keys.yaml"
    keys.unlink(missing_ok=True)
    append_entry(keys, operator.entry)
    auth = settings.auth.model_copy(update={"api_keys_file": keys})
    own = settings.model_copy(update={"data_dir": folder, "http": http, "auth": auth})
    calls, url = folder / "calls.jsonl", f"http://127.0.0.1:{port}"
    calls.touch()
    given = {"servers": servers._asdict(), "settings": dumped(own), "calls": str(calls)}
    # A file, not a pipe: nothing has to be read for it to start.
    (folder / "given.json").write_text(json.dumps(given))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    command = [sys.executable, "-m", "benchmarks.read_server", str(folder / "given.json")]
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until(lambda: _is_ready(process, url), within_s=READY_TIMEOUT_S, what="the query service to be ready")
        yield ReadServer(url, calls, process.pid, operator.key)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(END_TIMEOUT_S)


def dumped(settings: Settings) -> dict[str, Any]:
    """As JSON, secrets included: it goes to a process of ours."""
    raw = settings.model_dump(mode="json")
    for section in ("redis", "llm", "milvus"):
        for key, value in getattr(settings, section):
            if hasattr(value, "get_secret_value"):
                raw[section][key] = value.get_secret_value()
    return raw


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    if process.poll() is not None:
        msg = f"the query service ended with exit code {process.returncode}"
        raise RuntimeError(msg)
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def main() -> None:
    """The other side."""
    from connectors.embedding import Embedder, create_embedder  # noqa: PLC0415
    from connectors.kafka import KafkaLink  # noqa: PLC0415
    from connectors.milvus import VectorStore, create_vector_store  # noqa: PLC0415
    from connectors.observability import configure_logging  # noqa: PLC0415
    from ragstream import services  # noqa: PLC0415
    from ragstream.services import query  # noqa: PLC0415

    given = json.loads(Path(sys.argv[1]).read_text())
    at, settings = Servers(**given["servers"]), Settings.model_validate(given["settings"])
    configure_logging(settings.observability)
    log = CallLog(Path(given["calls"]))

    def timed_store(settings: Settings, uri: str | None) -> VectorStore:
        return cast("VectorStore", TimedStore(create_vector_store(settings, uri), log))

    setattr(query, "create_vector_store", timed_store)  # noqa: B010  reason: the service makes its own, by this name
    embedder = create_embedder(settings.embedding, settings.data_dir)
    where = services.Where(KafkaLink(settings.kafka, at.kafka), at.milvus)
    service = services.QueryService(settings, where, embedder=cast("Embedder", TimedEmbedder(embedder, log)))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        service.start()
        while not ended.wait(0.2):
            service.wait(0)
    finally:
        service.close()
        embedder.close()
        log.close()


if __name__ == "__main__":
    main()
