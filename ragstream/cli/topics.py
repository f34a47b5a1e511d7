"""`ragstream topics`: make the topics of a cluster."""

from __future__ import annotations

from typing import Final

import typer

from ragstream.cli.console import JsonOption, fail, out, print_json, settings_for_command

FAILED: Final = 78

app = typer.Typer(help="Make the topics that ragstream needs.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Keeps `create` a command of its own, although it is the only one."""


@app.command()
def create(as_json: JsonOption = False) -> None:
    """Create the topics that are missing, with the retention, compaction and sizes that the promises rest on.

    Touches nothing that exists, so it can be repeated; `ragstream doctor` checks existing ones. Partitions and replicas:
    RAG_KAFKA__PARTITIONS, RAG_KAFKA__REPLICATION_FACTOR.

    \b
    Example:
      RAG_KAFKA__BOOTSTRAP_SERVERS=localhost:9092 ragstream topics create
    """
    settings = settings_for_command()
    from connectors.kafka.topics import create_topics, topic_specs  # noqa: PLC0415
    from ragstream.reach import reach  # noqa: PLC0415

    found = reach(settings)
    specs = {spec.name: spec for spec in topic_specs(found.settings)}
    outcomes = create_topics(found.link, list(specs.values()))
    if as_json:
        print_json({"bootstrap": found.link.bootstrap, "topics": [outcome._asdict() for outcome in outcomes]})
    else:
        for outcome in outcomes:
            out.print(f"{outcome.outcome:8} {outcome.name}  ({specs[outcome.name].holds})")
    failed = [f"{outcome.name}: {outcome.problem}" for outcome in outcomes if outcome.outcome == "failed"]
    if failed:
        fail("; ".join(failed), FAILED)
