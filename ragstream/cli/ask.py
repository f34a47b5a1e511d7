"""`ragstream ask`: a question, its answer, and what the answer rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.text import Text

from ragstream.cli.console import (
    AGAIN,
    NO,
    REJECTED,
    JsonOption,
    fail,
    moment_text,
    out,
    print_json,
    print_rows,
    settings_for_command,
    usage_error,
)
from schemas.acl import OPERATOR, is_principal
from schemas.settings import Settings

if TYPE_CHECKING:
    from schemas.queries import AnswerEvent, AsOf, Citation, Explanation

# Timestamps in milliseconds are versions too; a producer's own count hardly reaches the year 1973.
FIRST_TIMESTAMP_MS: Final = 100_000_000_000
QUOTE_LENGTH: Final = 240

_EXIT_CODES: Final = {"answered": 0, "unknown": NO, "rejected": REJECTED, "expired": AGAIN, "failed": AGAIN}


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    who: Annotated[
        list[str] | None,
        typer.Option(
            "--as", metavar="PRINCIPAL", help="Who asks: user:…, group:…, or role:operator; repeatable. Everyone has *."
        ),
    ] = None,
    index: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Index to look in; repeatable. [default: all]")] = None,
    passages: Annotated[int, typer.Option(min=1, max=50, help="Passages that the answer rests on, at most.")] = 5,
    timeout: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How long to wait for the answer.")] = 15.0,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show passages, versions, scores and timings; to operators also what was withheld.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Ask a question and print the answer with its sources.

    Exit codes: 0 answered; 1 nothing known supports an answer; 65 the question was rejected; 75 no answer in time, or it failed.

    \b
    Examples:
      ragstream ask "How long does a refund take?"
      ragstream ask "What is the on-call pay?" --as user:ann --as group:hr
      ragstream ask "How long does a refund take?" --as role:operator --explain
    """
    if not question.strip():
        usage_error("the question is empty")
    for name in who or ():
        if name != OPERATOR and not is_principal(name):
            usage_error(f"--as {name!r} is no principal: give user:NAME, group:NAME or {OPERATOR}")
    settings = settings_for_command()
    answer = _answer(settings, question, tuple(who or ()), tuple(index or ()), passages, timeout, explain=explain)
    if as_json:
        print_json(answer.model_dump(mode="json", exclude_none=True))
    else:
        _print(answer, settings, explain=explain)
    code = _EXIT_CODES[answer.outcome or "failed"]
    if code in (REJECTED, AGAIN) and not as_json:
        fail(f"{answer.outcome}: {answer.error or answer.reason or 'no reason given'}", code)
    raise typer.Exit(code)


def _answer(
    settings: Settings,
    question: str,
    who: tuple[str, ...],
    indexes: tuple[str, ...],
    passages: int,
    timeout_s: float,
    *,
    explain: bool,
) -> AnswerEvent:
    from pydantic import ValidationError  # noqa: PLC0415

    from ragstream.asking import ask as ask_through_the_log  # noqa: PLC0415
    from ragstream.asking import new_query_id  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415
    from schemas.queries import QueryRequest  # noqa: PLC0415
    from schemas.wire import describe  # noqa: PLC0415

    try:
        request = QueryRequest(
            query_id=new_query_id(), question=question, principals=who, indexes=indexes, passages=passages, explain=explain
        )
    except ValidationError as exc:
        usage_error(describe(exc))
    found = reach(settings)
    return ask_through_the_log(found.settings, found.link, request, timeout_s)


def _print(answer: AnswerEvent, settings: Settings, *, explain: bool) -> None:
    if answer.text:
        out.print(Text(answer.text))
    for citation in answer.citations:
        _print_citation(citation, settings, with_text=explain)
    out.print()
    if answer.as_of is not None:
        out.print(Text(freshness(answer.as_of), style="dim"))
    if answer.degraded:
        out.print(Text(f"degraded: {', '.join(answer.degraded)}", style="yellow"))
    if explain and answer.explanation is not None:
        _print_explanation(answer, answer.explanation)


def _print_citation(citation: Citation, settings: Settings, *, with_text: bool) -> None:
    version = version_text(citation.version, settings, citation.index)
    line = Text.assemble(
        "\n" if citation.number == 1 else "", (f"[{citation.number}] {citation.title or citation.doc_id}", "bold")
    )
    line.append(f"  {citation.index}/{citation.doc_id}  {version}  score {citation.score:.3f}")
    out.print(line)
    if citation.source_uri:
        out.print(f"    {citation.source_uri}")
    if citation.newest_version_failed:
        out.print(Text("    a newer version of this document could not be processed", style="yellow"))
    if with_text:
        text = " ".join(citation.text.split())
        out.print(Text(f"    “{text[:QUOTE_LENGTH]}{'…' if len(text) > QUOTE_LENGTH else ''}”", style="dim"))


def _print_explanation(answer: AnswerEvent, explanation: Explanation) -> None:
    out.print()
    if explanation.candidates:
        rows = [
            (f"{c.index}/{c.doc_id}", c.chunk, str(c.version), _score(c.score), _score(c.vector_score), _score(c.keyword_score))
            for c in explanation.candidates
        ]
        print_rows(("candidate", "chunk", "version", "score", "vector", "keyword"), rows)
        out.print()
    for arm in explanation.arms:
        problem = f"  {arm.error}" if arm.error else ""
        out.print(f"{arm.arm}: {arm.candidates} candidates in {arm.took_ms:.0f} ms{problem}")
    if explanation.withheld is not None:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(explanation.withheld.items())) or "nothing"
        out.print(f"withheld: {counts}")
    steps = ", ".join(f"{step} {took:.0f} ms" for step, took in explanation.timings_ms.items())
    took = f"{answer.took_ms:.0f} ms" if answer.took_ms is not None else "unknown"
    out.print(
        f"mode {answer.mode or '-'}, generation {explanation.generation or '-'}, took {took}{f' ({steps})' if steps else ''}"
    )


def freshness(as_of: AsOf) -> str:
    """How fresh an answer is, in words."""
    if as_of.lag_ms is None or as_of.reflected_until is None:
        return "freshness unknown: the worker has not caught up since it started"
    moment = as_of.reflected_until.strftime("%Y-%m-%d %H:%M:%S")
    return f"reflects everything published until {moment} UTC, {as_of.lag_ms / 1000:.1f} s before the answer"


def version_text(version: int, settings: Settings, index: str) -> str:
    """A version as a time where its index goes by times, else as the producer's number."""
    known = settings.indexes.get(index)
    is_time = known.versions == "timestamp" if known is not None else version >= FIRST_TIMESTAMP_MS
    return moment_text(version) if is_time else f"version {version}"


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
