"""The command `ragstream`: which commands there are. Each module holds one subject; heavy imports wait until a command runs."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ragstream import __version__
from ragstream.cli import ask, configuration, doctor, inspecting, keys, publish, run, status, topics
from ragstream.cli.console import reported_errors, warn
from ragstream.configuration import unknown_variables


class _Reporting(TyperGroup):
    """Errors end every command in a line on stderr and an exit code of theirs; a defect's traceback comes before it."""

    def invoke(self, ctx: Any) -> Any:
        with reported_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="ragstream",
    cls=_Reporting,
    help=(
        "Retrieval-augmented answers over Kafka: the log is the database, every answer is fresh, permitted and cited.\n\n"
        "Without settings everything runs embedded: `ragstream up` in one terminal, the other commands in another. "
        "With RAG_KAFKA__BOOTSTRAP_SERVERS and RAG_MILVUS__URI the same commands work on real servers.\n\n"
        "Exit codes: 0 done; 1 the answer is no; 2 wrong usage; 17 fenced by another ingest; 18 messages lost from the log; "
        "65 input rejected; 70 a defect of ragstream; 75 a server is away, try again; 78 a setting is wrong, or the machine "
        "forbids what is needed; 130 interrupted."
    ),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    # A bug's traceback stays a plain one, which bug reports can hold.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ragstream {__version__}")
        raise typer.Exit


@app.callback()
def _before_every_command(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    for name, meant in unknown_variables(os.environ).items():
        remedy = f"; did you mean {meant}?" if meant else "; `ragstream config show` lists all settings"
        warn(f"no setting is called {name}{remedy}")


_RUNNING = "Run it"
_USING = "Use it"
_OPERATING = "Operate it"

app.command("demo", rich_help_panel=_RUNNING)(run.demo)
app.command("up", rich_help_panel=_RUNNING)(run.up)
app.command("ingest", rich_help_panel=_RUNNING)(run.ingest)
app.command("serve", rich_help_panel=_RUNNING)(run.serve)
app.command("publish", rich_help_panel=_USING)(publish.publish)
app.command("ask", rich_help_panel=_USING)(ask.ask)
app.command("status", rich_help_panel=_OPERATING)(status.status)
app.command("inspect", rich_help_panel=_OPERATING)(inspecting.inspect)
app.command("doctor", rich_help_panel=_OPERATING)(doctor.doctor)
app.add_typer(topics.app, name="topics", rich_help_panel=_OPERATING)
app.add_typer(keys.app, name="keys", rich_help_panel=_OPERATING)
app.add_typer(configuration.app, name="config", rich_help_panel=_OPERATING)


def main() -> None:
    """The console script."""
    app()
