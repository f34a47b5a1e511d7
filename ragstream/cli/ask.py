"""`ragstream ask`: a question, its answer, and what the answer rests on."""

from __future__ import annotations

import json
from collections.abc import Sequence
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
    settings_for_command,
    usage_error,
)
from ragstream.cli.credentials import OPTION, VARIABLE, TokenFileOption, signed_token
from ragstream.cli.explaining import print_explanation
from schemas.acl import OPERATOR, is_principal
from schemas.settings import Settings

if TYPE_CHECKING:
    from schemas.queries import AnswerEvent, AsOf, Citation

# Timestamps in milliseconds are versions too; a producer's own count hardly reaches the year 1973.
FIRST_TIMESTAMP_MS: Final = 100_000_000_000
QUOTE_LENGTH: Final = 240

_REMEDIES: Final = {"token_missing": f"; give it in {VARIABLE}, or name a file with {OPTION}"}
"""What the worker can't know: how this command is told."""

_EXIT_CODES: Final = {"answered": 0, "unknown": NO, "rejected": REJECTED, "expired": AGAIN, "failed": AGAIN}


def ask(
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    who: Annotated[
        list[str] | None,
        typer.Option(
            "--as", metavar="PRINCIPAL", help="Who asks: user:…, group:…, or role:operator; repeatable. Everyone has *."
        ),
    ] = None,
    token_file: TokenFileOption = None,
    index: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Index to look in; repeatable. [default: all]")] = None,
    passages: Annotated[int, typer.Option(min=1, max=50, help="Passages that the answer rests on, at most.")] = 5,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter", metavar="FIELD=VALUE", help="Only documents with this in their metadata; repeatable, JSON values."
        ),
    ] = None,
    after: Annotated[
        list[str] | None, typer.Option(metavar="TOKEN", help="Answer only once this write is reflected; repeatable.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Answer afresh, and remember nothing of it.")] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            help="How long to wait for the answer. Work on a question takes RAG_QUERY__DEADLINE_S of the query worker at most.",
        ),
    ] = 15.0,
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show passages, versions, scores; to operators also times and what was withheld."),
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
      ragstream ask "What is the on-call pay?" --token-file ~/.ragstream-token
      ragstream ask "What changed?" --filter product=cards --filter 'year={"gte": 2024}'
    """
    if not question.strip():
        usage_error("the question is empty")
    for name in who or ():
        if name != OPERATOR and not is_principal(name):
            usage_error(f"--as {name!r} is no principal: give user:NAME, group:NAME or {OPERATOR}")
    settings = settings_for_command()
    signed = signed_token(settings, token_file)
    if signed is not None and who:
        usage_error(f"--as says who asks, and so does the token of {signed[1]}: leave one of them out")
    fields: dict[str, object] = {
        "question": question,
        "principals": who or (),
        "indexes": index or (),
        "filters": _filters(filters or ()),
        "passages": passages,
        "after": after or (),
        "explain": explain,
        "cache": "off" if no_cache else "use",
        "stream": False,
    }
    if signed is not None:
        fields["token"] = signed[0]
    answer = _answer(settings, fields, timeout)
    if as_json:
        print_json(answer.model_dump(mode="json", exclude_none=True))
    else:
        _print(answer, settings, explain=explain)
    code = _EXIT_CODES[answer.outcome or "failed"]
    if code in (REJECTED, AGAIN) and not as_json:
        remedy = _REMEDIES.get(answer.reason or "", "")
        fail(f"{answer.outcome}: {answer.error or answer.reason or 'no reason given'}{remedy}", code)
    raise typer.Exit(code)


def _filters(given: Sequence[str]) -> dict[str, object]:
    """`year=2024` is a number, `lang=en` text, `year={"gte":2024}` a range: a value that is JSON is taken as such."""
    found: dict[str, object] = {}
    for one in given:
        field, equals, value = one.partition("=")
        if not equals or not field:
            usage_error(f"--filter {one!r}: give FIELD=VALUE, such as lang=en or 'year={{\"gte\": 2024}}'")
        try:
            found[field] = json.loads(value)
        except json.JSONDecodeError:
            found[field] = value
    return found


def _answer(settings: Settings, fields: dict[str, object], timeout_s: float) -> AnswerEvent:
    from pydantic import ValidationError  # noqa: PLC0415

    from ragstream.asking import ask as ask_through_the_log  # noqa: PLC0415
    from ragstream.asking import new_query_id  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415
    from schemas.queries import QueryRequest  # noqa: PLC0415
    from schemas.wire import describe  # noqa: PLC0415

    try:
        request: QueryRequest = QueryRequest.model_validate({"query_id": new_query_id(), **fields})
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
        print_explanation(answer, answer.explanation)


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
