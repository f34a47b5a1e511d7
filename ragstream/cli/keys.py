"""`ragstream keys`: API keys for HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from ragstream.cli.console import JsonOption, err, hint, out, print_json, settings_for_command

app = typer.Typer(help="API keys for the HTTP interface.", no_args_is_help=True)


@app.command()
def create(
    principal: Annotated[list[str], typer.Option(metavar="PRINCIPAL", help="Who the key is: user:…, group:…; repeatable.")],
    scope: Annotated[list[str], typer.Option(metavar="SCOPE", help="ask, publish:INDEX, publish (all), operate; repeatable.")],
    days: Annotated[int | None, typer.Option(min=1, help="Days until it expires. [default: never]")] = None,
    note: Annotated[str, typer.Option(help="For whom, for what.")] = "",
    append: Annotated[
        bool, typer.Option("--append", help="Append the entry to RAG_AUTH__API_KEYS_FILE; running servers read it by themselves.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make an API key. It is shown once; the file holds its hash only.

    \b
    Example:
      ragstream keys create --principal user:maya --principal group:hr --scope ask --scope publish:docs --append
    """
    from query_api.identity.api_keys import append_entry, entry_text, new_key  # noqa: PLC0415
    from schemas.errors import Misconfigured  # noqa: PLC0415

    path = settings_for_command().auth.api_keys_file
    if append and path is None:
        msg = "--append needs RAG_AUTH__API_KEYS_FILE: the file that servers read keys from"
        raise Misconfigured(msg)
    expires = datetime.now(UTC).replace(microsecond=0) + timedelta(days=days) if days else None
    made = new_key(principal, scope, expires=expires, note=note)
    if append and path is not None:
        append_entry(path, made.entry)
    if as_json:
        print_json({"key": made.key, "entry": made.entry.model_dump(mode="json"), "appended_to": str(path) if append else None})
        return
    out.print(made.key)
    if append:
        hint(f"its entry is in {path}; the key itself is kept nowhere")
    else:
        err.print(f"keys:\n{entry_text(made.entry)}", end="")
        hint("put this entry into the list `keys` of RAG_AUTH__API_KEYS_FILE; the key itself is kept nowhere")
