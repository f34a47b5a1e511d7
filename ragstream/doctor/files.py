"""Are the files right that operators write: routes, prompt, API keys? And is the token issuer's key set?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from ragstream.doctor.finding import Finding
from schemas.errors import RagError
from schemas.settings import AuthSettings, Settings


def check_routes(settings: Settings) -> Iterator[Finding]:
    """Whether the routes can be read, and lead to indexes that there are."""
    path = settings.query.routes_file
    if path is None:
        return
    from query_api.routing import read_routes  # noqa: PLC0415

    part = f"routes {path}"
    try:
        routes = read_routes(path, {name: index.description for name, index in settings.indexes.items()})
    except RagError as exc:
        yield Finding(part, False, str(exc), "mend the file (docs/routing.md), or unset RAG_QUERY__ROUTES_FILE")
    else:
        yield Finding(part, True, f"{len(routes.in_use)} routes, those that come along included")


def check_prompt(settings: Settings) -> Iterator[Finding]:
    """Whether the template renders, with the question and every passage in it."""
    path = settings.llm.prompt_file
    if path is None:
        return
    from query_api.generation.template import load_template  # noqa: PLC0415

    part = f"prompt {path}"
    try:
        load_template(path)
    except RagError as exc:
        yield Finding(part, False, str(exc), "mend the file (docs/models.md), or unset RAG_LLM__PROMPT_FILE")
    else:
        used = "" if settings.llm.kind != "extractive" else ", but no language model is configured that would see it"
        yield Finding(part, True, f"renders{used}")


def check_api_keys(settings: Settings) -> Iterator[Finding]:
    """Whether the file of API keys is one, and whose keys have expired."""
    path = settings.auth.api_keys_file
    if path is None:
        return
    from query_api.identity.key_file import KeyFile  # noqa: PLC0415

    part = f"API keys {path}"
    try:
        entries = KeyFile(path).entries.values()
    except RagError as exc:
        yield Finding(part, False, str(exc), "mend the file (docs/http.md), or unset RAG_AUTH__API_KEYS_FILE")
        return
    now = datetime.now(UTC)
    expired = sorted(entry.id for entry in entries if entry.expires is not None and entry.expires <= now)
    yield Finding(part, True, f"{_counted(len(entries))}{f', expired: {len(expired)}' if expired else ''}")


def check_token_issuer(settings: Settings) -> Iterator[Finding]:
    """Whether the issuer's keys can be had, and can have signed what is taken here."""
    auth, remedy = settings.auth, "correct RAG_AUTH__JWT_… and RAG_AUTH__JWKS_… (docs/http.md)"
    if auth.jwt_issuer is None:
        idle = [name for name in ("jwks_url", "jwks_file", "require_signed_queries") if getattr(auth, name)]
        if idle:
            names = " and ".join(f"RAG_AUTH__{name.upper()}" for name in idle)
            yield Finding("token issuer", False, f"{names} without RAG_AUTH__JWT_ISSUER: no tokens are taken", remedy)
        return
    part = f"token issuer {auth.jwt_issuer}"
    try:
        found = _usable(auth)
    except RagError as exc:
        yield Finding(part, False, str(exc), remedy)
        return
    taken = ", ".join(auth.jwt_algorithms)
    if found:
        yield Finding(part, True, f"{_counted(found)} for {taken}")
    else:
        problem = f"none of its keys signs with {taken}: no token of its can be checked"
        yield Finding(part, False, problem, "set RAG_AUTH__JWT_ALGORITHMS to what the issuer signs with")


def _counted(keys: int) -> str:
    return "1 key" if keys == 1 else f"{keys} keys"


def _usable(auth: AuthSettings) -> int:
    from query_api.identity.authenticator import key_source  # noqa: PLC0415
    from query_api.identity.signed_tokens import TokenReader  # noqa: PLC0415

    reader = TokenReader(auth)
    return len(reader.usable(key_source(auth).read()))
