"""The demo's story: ask, edit, rights, revocation, deletion, replay, restart. On the bank's help centre, or on the
caller's own data.

Every act checks what it shows: a demo that only prints would not notice a broken promise. A failed check ends it with status 1.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from ragstream.cli.run import on_signals
from ragstream.corpus import article, changes
from ragstream.corpus.help_article import access, delete
from ragstream.corpus.story import AGENT, CUSTOMER, DELETED, INTERNAL, LOUNGES, NEW_PRICE, PRICE, TEAM_LEADS_ONLY
from ragstream.demo.promises import promise
from ragstream.demo.small_model import is_installed, show_small_model
from ragstream.demo.stage import Stage
from ragstream.invocation import invocation
from ragstream.publishing import changes_from
from ragstream.publishing.options import PublishOptions
from schemas.acl import PUBLIC
from schemas.documents import DocumentChange
from schemas.errors import Misconfigured
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent
from schemas.settings import AuthSettings, Settings

Changes = Callable[[], Iterator[DocumentChange]]


def run_demo(settings: Settings, *, data: Path | None, data_dir: Path | None, stay: str, began: float | None = None) -> None:
    """Tell the story; stay up at the end on a terminal. Raises: RagError; a check that failed is one.

    Args:
        began: monotonic seconds at which the command started, where that was earlier than now.
    """
    console = Console(highlight=False, soft_wrap=True)
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ragstream-demo-")))
        stage = Stage(_embedded(settings, folder), console, began)
        source = _own_changes(data) if data is not None else _bank_changes
        stage.act("Starting: an in-process Kafka, Milvus Lite, the encoder, ingest and query workers")
        with stage.running():
            _ingest(stage, source, data)
            story = _bank_story if data is None else _own_story
            check_again = story(stage, source)
            _replay(stage, source)
        stage.act("Restart: stop everything, start it again from the journal")
        embedded, began = stage.embedded(), time.monotonic()
        with stage.running():
            stage.wait_reflected()
            stage.say(f"  back in {time.monotonic() - began:.1f} s, {stage.embedded() - embedded} chunks embedded")
            promise(stage.embedded() == embedded, "a restart embeds nothing")
            check_again()
            if data is None and is_installed():
                show_small_model(stage)
            stage.say(f"\n[bold green]Every promise held.[/] {stage.elapsed_s:.0f} s in all.")
            if stay == "yes" or (stay == "auto" and sys.stdin.isatty() and sys.stdout.isatty()):
                _stay(stage)


def _ingest(stage: Stage, source: Changes, data: Path | None) -> None:
    stage.act(f"Ingest: {data or 'the help centre of a bank, with a year of edits'}")
    began = time.monotonic()
    count = stage.publish(source())
    took = time.monotonic() - began
    with stage.up.query.view.snapshot() as snapshot:
        documents = sum(1 for key in snapshot.keys() if snapshot.document(key) is not None)  # noqa: SIM118
    stage.say(f"  {count:,} change events → {documents:,} live documents, {stage.embedded():,} chunks embedded, {took:.1f} s")
    if not documents:
        msg = f"{data} gave no document to show: point DATA at a folder of texts or at JSONL of document changes"
        raise Misconfigured(msg)


# -- the bank


def _bank_changes() -> Iterator[DocumentChange]:
    return (DocumentChange.model_validate(change) for change in changes())


def _bank_story(stage: Stage, _source: Changes) -> Callable[[], None]:
    stage.act("Ask")
    first = stage.ask(PRICE.text)
    stage.say(f"  first answer {stage.elapsed_s:.1f} s after the command")
    stage.show(PRICE.text, first)
    promise(NEW_PRICE.old_fact in first.text and _cites(first, PRICE.doc_id), "the answer states the fact and cites its article")

    stage.act("Edit: the price changes; the new answer, and no trace of the old one")
    before = article(NEW_PRICE.doc_id)
    edited = replace(before, text=NEW_PRICE.edit.apply(before.text))
    embedded, began = stage.embedded(), time.monotonic()
    stage.publish([DocumentChange.model_validate(edited.upsert(_now()))])
    stage.say(f"  reflected after {(time.monotonic() - began) * 1000:.0f} ms, {stage.embedded() - embedded} chunk embedded")
    second = stage.ask(PRICE.text)
    stage.show(PRICE.text, second)
    promise(NEW_PRICE.new_fact in second.text and NEW_PRICE.old_fact not in _all_text(second), "only the new text is shown")

    stage.act("Again: the same question, answered from memory once its evidence is verified to stand")
    again = stage.ask(PRICE.text)
    stage.show(PRICE.text, again)
    promise(again.mode == "cached" and again.text == second.text, "a remembered answer is the answer")

    stage.act("Rights: two callers ask the same")
    for caller, knows in ((AGENT, True), (CUSTOMER, False)):
        answer = stage.ask(INTERNAL.text, caller.principals)
        stage.show(INTERNAL.text, answer, caller.name)
        promise((INTERNAL.fact in _all_text(answer)) == knows, f"{caller.name} sees {'it' if knows else 'nothing of it'}")

    stage.act(f"Revoke: {AGENT.name} may not read it any more")
    stage.publish([DocumentChange.model_validate(access(TEAM_LEADS_ONLY.doc_id, TEAM_LEADS_ONLY.after, _now()))])
    revoked = stage.ask(INTERNAL.text, AGENT.principals)
    stage.show(INTERNAL.text, revoked, AGENT.name)
    promise(INTERNAL.fact not in _all_text(revoked), "a revoked document is not shown")

    stage.act("Delete: the only article that answers")
    stage.show(LOUNGES.text, stage.ask(LOUNGES.text))
    stage.publish([DocumentChange.model_validate(delete(DELETED, _now()))])
    gone = stage.ask(LOUNGES.text)
    stage.show(LOUNGES.text, gone)
    promise(gone.text == UNKNOWN_ANSWER, "with its only source deleted, a question has no answer")

    def still_there() -> None:
        answer = stage.ask(PRICE.text)
        stage.show(PRICE.text, answer)
        promise(NEW_PRICE.new_fact in answer.text, "after a restart the newest answer is there")
        promise(INTERNAL.fact not in _all_text(stage.ask(INTERNAL.text, AGENT.principals)), "the revocation is still in force")
        promise(stage.ask(LOUNGES.text).text == UNKNOWN_ANSWER, "the deleted article is still gone")

    return still_there


# -- one's own data


def _own_changes(data: Path) -> Changes:
    options = PublishOptions(acl=PUBLIC)

    def read() -> Iterator[DocumentChange]:
        return (change for change in changes_from(data, options) if isinstance(change, DocumentChange))

    if not data.exists():
        msg = f"{data} does not exist: DATA takes a folder, a file, or JSONL (.gz, .xz)"
        raise Misconfigured(msg)
    return read


def _own_story(stage: Stage, _source: Changes) -> Callable[[], None]:
    """Asks for a document by its title, then revokes and deletes that document."""
    index, doc_id, title = _showpiece(stage)
    stage.act("Ask")
    first = stage.ask(title)
    stage.say(f"  first answer {stage.elapsed_s:.1f} s after the command")
    stage.show(title, first)
    common = {"doc_id": doc_id, "index": index}

    stage.act(f"Revoke: {doc_id} for group:insiders only")
    stage.publish([DocumentChange.model_validate({**common, "op": "access", "acl": ["group:insiders"], "event_time": _now()})])
    for principals, who in ((("group:insiders",), "an insider"), ((), "anyone")):
        answer = stage.ask(title, principals)
        stage.show(title, answer, who)
        promise(bool(principals) or not _cites(answer, doc_id), "a revoked document is not shown")

    stage.act(f"Delete: {doc_id}")
    stage.publish([DocumentChange.model_validate({**common, "op": "delete", "event_time": _now()})])
    gone = stage.ask(title, ("group:insiders",))
    stage.show(title, gone)
    promise(not _cites(gone, doc_id), "a deleted document is not shown")

    def still_gone() -> None:
        promise(not _cites(stage.ask(title, ("group:insiders",)), doc_id), "after a restart it is still gone")

    return still_gone


def _showpiece(stage: Stage) -> tuple[str, str, str]:
    """The document with the most passages: something worth asking for."""
    with stage.up.query.view.snapshot() as snapshot:
        shown = ((len(found.chunks), key, found.entry.title) for key in snapshot.keys() if (found := snapshot.document(key)))  # noqa: SIM118
        _, key, title = max(shown)
    return key.index, key.doc_id, title


# -- both


def _replay(stage: Stage, source: Changes) -> None:
    stage.act("Replay: everything is published once more, as if by a nervous upstream system")
    embedded, began = stage.embedded(), time.monotonic()
    count = stage.publish(source())
    fresh = stage.embedded() - embedded
    stage.say(f"  {count:,} events in {time.monotonic() - began:.1f} s, {fresh} chunks embedded")
    promise(fresh == 0, "a replay embeds nothing")


def _stay(stage: Stage) -> None:
    folder = escape(str(stage.settings.data_dir))
    typed = invocation()
    command = escape(typed.text)
    where = "In another terminal" if typed.anywhere else "In another terminal, in this folder,"
    stage.say(
        f"\nIt stays up. {where} try:\n"
        f"  {command} ask 'How do I freeze my card?'\n"
        f"  {command} ask 'How much goodwill credit may an agent approve?' --as group:team-leads --explain\n"
        f"  echo 'The vault opens at nine.' > vault.md && {command} publish vault.md --acl '*'\n"
        f"  {command} ask 'When does the vault open?'\n"
        f"  {command} status\n"
        f"  {command} inspect cards/card-delivery\n"
        f"Over HTTP, with its description and a page to try it on: {stage.up.query.http_url}/docs\n"
        f"Its files are in {folder}. Ctrl-C ends it."
    )
    with on_signals(stage.up.stop):
        stage.up.wait()


def _embedded(settings: Settings, folder: Path) -> Settings:
    """Embedded everything, whatever servers and issuers of tokens the environment names, and ports that nobody else has."""
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": None})
    milvus = settings.milvus.model_copy(update={"uri": None})
    observability = settings.observability.model_copy(update={"ingest_port": 0, "query_port": 0})
    http = settings.http.model_copy(update={"port": 0})
    redis = settings.redis.model_copy(update={"url": None})
    servers = {"kafka": kafka, "milvus": milvus, "redis": redis, "auth": AuthSettings()}
    changed = {"data_dir": folder, **servers, "http": http, "observability": observability}
    return settings.model_copy(update=changed)


def _now() -> datetime:
    return datetime.now(UTC)


def _cites(answer: AnswerEvent, doc_id: str) -> bool:
    return any(citation.doc_id == doc_id for citation in answer.citations)


def _all_text(answer: AnswerEvent) -> str:
    return "\n".join([answer.text, *(citation.text for citation in answer.citations)])
