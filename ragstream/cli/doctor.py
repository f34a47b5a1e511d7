"""`ragstream doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer
from rich.text import Text

from ragstream.cli.console import NO, JsonOption, out, print_json, settings_for_command

if TYPE_CHECKING:
    from ragstream.doctor import Finding


def doctor(as_json: JsonOption = False) -> None:
    """Check everything: settings, installed packages, data directory, models, Kafka and its topics, Milvus, Redis; and where they
    are configured, language models' endpoints, prompt, routes, API keys and the token issuer's keys.

    Changes nothing; takes some seconds, because models are really loaded, and some more for each server that hangs. Exit code 1:
    something needs a remedy; it is shown.
    """
    settings = settings_for_command()
    from ragstream.doctor import examine  # noqa: PLC0415

    findings: list[Finding] = []
    for finding in examine(settings):
        findings.append(finding)
        if not as_json:
            _print(finding)
    problems = [finding for finding in findings if not finding.ok]
    if as_json:
        print_json({"ok": not problems, "findings": [_as_json(finding) for finding in findings]})
    else:
        out.print()
        out.print(
            f"{len(problems)} of {len(findings)} checks need a remedy" if problems else f"all {len(findings)} checks passed"
        )
    if problems:
        raise typer.Exit(NO)


def _print(finding: Finding) -> None:
    mark = ("ok     ", "green") if finding.ok else ("PROBLEM", "bold red")
    out.print(Text.assemble(mark, f"  {finding.part}: {finding.detail}"))
    if not finding.ok:
        out.print(f"         → {finding.remedy}")


def _as_json(finding: Finding) -> dict[str, object]:
    remedy = None if finding.ok else finding.remedy
    return {"part": finding.part, "ok": finding.ok, "detail": finding.detail, "remedy": remedy}
