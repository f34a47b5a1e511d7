"""What the demo's acts are made of: a system that runs, and the few things one does with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from prometheus_client import REGISTRY
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from connectors.kafka import OutRecord
from ragstream.asking import ask, new_query_id
from ragstream.embedded.intake import BATCH
from ragstream.publishing.sink import to_record
from ragstream.up import Up
from schemas.documents import DocumentChange
from schemas.errors import Retryable
from schemas.queries import AnswerEvent, QueryRequest
from schemas.settings import Settings

READY_TIMEOUT_S: Final = 120.0
CATCH_UP_TIMEOUT_S: Final = 1800.0
ASK_TIMEOUT_S: Final = 15.0
POLL_S: Final = 0.02


class Stage:
    """A running `up`, its clock and its printer."""

    def __init__(self, settings: Settings, console: Console, began: float | None = None) -> None:
        self.settings = settings
        self.console = console
        self.began = time.monotonic() if began is None else began
        self.up = Up(settings)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Started and ready to answer inside the block."""
        self.up = Up(self.settings)
        self.up.start()
        try:
            self._wait_ready()
            yield
        finally:
            self.up.close()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.began

    def say(self, text: str) -> None:
        self.console.print(text, markup=True)

    def act(self, title: str) -> None:
        self.console.print(f"\n[bold cyan]{title}[/]  [dim]({self.elapsed_s:.1f} s)[/]")

    def publish(self, changes: Iterable[DocumentChange]) -> int:
        """Accept `changes` and wait until answers reflect them; returns how many there were."""
        topic = self.settings.kafka.topics.documents
        count, batch = 0, list[OutRecord]()
        before = self._processed()
        with self._progress() as progress:
            task = progress.add_task("indexing", total=None)
            for change in changes:
                batch.append(to_record(change, topic))
                count += 1
                if len(batch) >= BATCH // 10:
                    self._accept(batch)
                    progress.update(task, completed=self._processed() - before)
            self._accept(batch)
            progress.update(task, total=count)
            self.wait_reflected(lambda: progress.update(task, completed=min(count, self._processed() - before)))
        return count

    def ask(self, question: str, principals: Sequence[str] = ()) -> AnswerEvent:
        """Through `rag.queries` and `rag.answers`, like any service."""
        request = QueryRequest(query_id=new_query_id(), question=question, principals=tuple(principals))
        return ask(self.settings, self.up.where.link, request, ASK_TIMEOUT_S)

    def embedded(self) -> int:
        """Chunks that went through the encoder since this process began."""
        return int(REGISTRY.get_sample_value("rag_ingest_chunks_total", {"source": "encoder"}) or 0)

    def show(self, question: str, answer: AnswerEvent, asker: str = "anyone") -> None:
        self.console.print(f"  [bold]{asker}:[/] ", end="")
        self.console.print(question, markup=False)
        self.console.print(f"  → {answer.text or answer.error}", markup=False, style="green" if answer.citations else "yellow")
        for citation in answer.citations:
            source = f"    [{citation.number}] {citation.title} · {citation.doc_id} · score {citation.score:.2f}"
            self.console.print(source, markup=False, style="dim")
        lag = answer.as_of.lag_ms if answer.as_of else None
        fresh = f" · everything up to {lag} ms ago is reflected" if lag is not None else ""
        self.console.print(f"    {answer.mode} · {answer.took_ms or 0:.0f} ms{fresh}", markup=False, style="dim")

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not (self.up.query.has_started and self.up.query.view.ready().is_ready):
            self.up.check()
            if time.monotonic() > deadline:
                msg = f"the demo did not get ready in {READY_TIMEOUT_S:g} s: {self.up.query.view.ready().reason}"
                raise Retryable(msg)
            time.sleep(POLL_S)

    def _accept(self, batch: list[OutRecord]) -> None:
        if self.up.intake is None:
            msg = "the demo runs embedded"
            raise AssertionError(msg)
        if batch:
            self.up.intake.accept(batch)
            batch.clear()

    def _processed(self) -> int:
        with self.up.query.view.snapshot() as snapshot:
            return sum(snapshot.progress().values())

    def wait_reflected(self, on_step: Callable[[], object] = lambda: None) -> None:
        """Until answers reflect all that was published before now."""
        published = datetime.now(UTC)
        deadline = time.monotonic() + CATCH_UP_TIMEOUT_S
        while True:
            self.up.check()
            on_step()
            reflected = self.up.query.view.as_of().reflected_until
            if reflected is not None and reflected > published:
                return
            if time.monotonic() > deadline:
                msg = f"the index did not catch up in {CATCH_UP_TIMEOUT_S:g} s"
                raise Retryable(msg)
            time.sleep(POLL_S)

    def _progress(self) -> Progress:
        columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        return Progress(*columns, console=self.console, transient=True)
