"""`up`, `ingest`, `serve`, `demo`: the commands that run."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from ragstream.cli.console import INTERRUPTED, err, fail, reported_errors, settings_for_command, usage_error
from ragstream.data_directory import require_writable
from ragstream.invocation import invocation
from ragstream.workers import is_orphan, run_workers
from schemas.errors import Misconfigured
from schemas.settings import Settings

LlmOption = Annotated[
    Literal["extractive", "local", "openai"] | None,
    typer.Option(help="Who writes answers. local: a small model in this process. [default: RAG_LLM__KIND, else extractive]"),
]


def _with_llm(settings: Settings, kind: str | None) -> Settings:
    if kind is None:
        return settings
    return settings.model_copy(update={"llm": settings.llm.model_copy(update={"kind": kind})})


@contextmanager
def on_signals(stop: Callable[[], None], parent: int | None = None) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a clean stop; a second one ends at once.

    Not so where `parent` passes them on and lives: of one stop a service manager may signal it and its workers, and it ends them.
    """
    asked = threading.Event()

    def handle(number: int, _frame: object) -> None:
        if asked.is_set():
            if parent is not None and not is_orphan(parent):
                return
            raise KeyboardInterrupt
        asked.set()
        stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def up(
    data_dir: Annotated[Path | None, typer.Option(help="Journal, indexes, caches. Default: RAG_DATA_DIR or .ragstream.")] = None,
    llm: LlmOption = None,
    ready_file: Annotated[Path | None, typer.Option(hidden=True, help="Touched when everything runs.")] = None,
) -> None:
    """Run everything in one process: embedded parts where no server is named.

    Other commands find it while it runs: `ragstream publish docs/ --acl '*'`, `ragstream ask "…"`. It keeps a journal in the data
    directory: started again, it has everything again, without embedding anything anew. Ctrl-C stops it cleanly.
    """
    settings = _with_llm(settings_for_command(quiet=False), llm)
    if data_dir is not None:
        settings = settings.model_copy(update={"data_dir": data_dir})
    with reported_errors():
        require_writable(settings.data_dir)
        _require_model(settings)
        from ragstream.up import Up  # noqa: PLC0415  loads torch and Bytewax

        whole = Up(settings)
        with on_signals(whole.stop):
            try:
                whole.start()
                page = f"   |   {whole.query.http_url}/docs" if whole.query.http_url else ""
                asking = f'{invocation().text} ask "…"'
                err.print(f"ragstream runs (pid in {settings.data_dir}/lock). Try:  {asking}{page}   |   Ctrl-C stops it")
                if ready_file is not None:
                    ready_file.touch()
                whole.wait()
            finally:
                whole.close()


def ingest(
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes to spread the partitions over.")] = 1,
    threads: Annotated[int, typer.Option(min=1, max=16, help="Worker threads in each process.")] = 1,
    until_caught_up: Annotated[
        bool, typer.Option("--until-caught-up", help="End when all that is in the log now is indexed.")
    ] = False,
    process: Annotated[int | None, typer.Option(hidden=True)] = None,
    address: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    parent: Annotated[int | None, typer.Option(hidden=True, help="Of this worker; it stops when that one is gone.")] = None,
) -> None:
    """Keep the index up to date: read change events, embed what changed, publish.

    Needs Kafka and Milvus (RAG_KAFKA__BOOTSTRAP_SERVERS, RAG_MILVUS__URI). One ingest (with as many workers as wanted) runs per
    generation: a second one takes over, and the first ends with exit code 17. SIGTERM publishes what is in flight, then ends.
    """
    settings = settings_for_command(quiet=False)
    with reported_errors():
        if workers > 1 and process is None:
            code = run_workers(workers, threads=threads, until_caught_up=until_caught_up)
            if code:
                fail(f"a worker process {_ended(code)}; all are stopped", code)
            return
        where = _named_servers(settings)
        if settings.embedding.cache == "lmdb":
            require_writable(settings.data_dir)
        os.nice(settings.ingest.niceness)  # before there are threads: each has its own
        from ragstream.services import IngestService  # noqa: PLC0415  loads torch and Bytewax

        service = IngestService(
            settings, where, threads=threads, addresses=address, process=process or 0, until_caught_up=until_caught_up
        )
        with on_signals(service.stop, parent):
            try:
                service.start()
                while not service.wait(0.5):
                    if is_orphan(parent):
                        service.stop()
            finally:
                service.close()


def _ended(code: int) -> str:
    """How a worker process ended, from what a shell would see of it."""
    killed_by = {128 + number: number.name for number in signal.Signals}.get(code)
    return f"was killed ({killed_by})" if killed_by is not None and code != INTERRUPTED else f"ended with exit code {code}"


def serve(
    llm: LlmOption = None,
    kafka: Annotated[bool, typer.Option("--kafka/--no-kafka", help="Answer rag.queries on rag.answers.")] = True,
    http: Annotated[
        bool | None, typer.Option("--http/--no-http", help="Answer over HTTP. [default: RAG_HTTP__ENABLED, else yes]")
    ] = None,
) -> None:
    """Answer questions: from rag.queries on rag.answers, and over HTTP.

    Needs Kafka and Milvus. Each worker keeps its own view of the index under the data directory; run as many as there are query
    partitions. SIGTERM finishes the answers in work, then ends.
    """
    settings = _with_llm(settings_for_command(quiet=False), llm)
    if http is not None:
        settings = settings.model_copy(update={"http": settings.http.model_copy(update={"enabled": http})})
    if not kafka and not settings.http.enabled:
        usage_error("with neither --kafka nor --http there is nothing to answer")
    with reported_errors():
        _require_model(settings)
        where = _named_servers(settings)
        require_writable(settings.data_dir)
        from ragstream.services import QueryService  # noqa: PLC0415

        service = QueryService(settings, where, serves_kafka=kafka)
        with on_signals(service.stop):
            try:
                service.start()
                while not service.wait(0.5):
                    pass
            finally:
                service.close()


def demo(
    data: Annotated[Path | None, typer.Option(help="Your own folder or JSONL instead of the bank's help centre.")] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Where the demo keeps its files. Default: a fresh temporary folder.")
    ] = None,
    stay: Annotated[Literal["auto", "yes", "no"], typer.Option(help="Keep running at the end. auto: on a terminal.")] = "auto",
) -> None:
    """Tell a short story on real content: ask, edit, rights, revocation, deletion, replay, restart."""
    began = time.monotonic()  # what follows loads torch, and belongs to the time that a person waits
    settings = settings_for_command()
    from ragstream.demo import run_demo  # noqa: PLC0415

    with reported_errors():
        run_demo(settings, data=data, data_dir=data_dir, stay=stay, began=began)


def _require_model(settings: Settings) -> None:
    """What is missing is said at once, not after servers and encoder were started. Raises: Misconfigured."""
    if settings.llm.kind == "local":
        from connectors.llm.local import require_installed  # noqa: PLC0415

        require_installed()


def _named_servers(settings: Settings):  # type: ignore[no-untyped-def]
    from ragstream.reach import kafka_link  # noqa: PLC0415
    from ragstream.services import Where  # noqa: PLC0415

    link = kafka_link(settings)
    if settings.milvus.uri is None:
        msg = (
            "no Milvus is named: set RAG_MILVUS__URI, or run everything in one process with `ragstream up`, "
            "which starts an embedded one"
        )
        raise Misconfigured(msg)
    return Where(link, settings.milvus.uri)
