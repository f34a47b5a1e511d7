"""Which names this server answers to.

A web page whose name was made to point to this machine (DNS rebinding) is of the same origin as a server on loopback, and could
read what that tells anybody here. The name that its requests carry is its own: refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from query_api.http.envelope import is_openai
from query_api.http.problems import MEDIA_TYPE, ProblemError

ANY: Final = "*"
LOCAL: Final = "localhost"


class KnownHosts:
    """Lets requests through whose `Host` is one of `names`, or this machine's own.

    Args:
        names: without ports; `*.NAME`: any name below it; `*`: anything.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = frozenset(name.lower().strip("[]") for name in names)
        self._suffixes = tuple(name.removeprefix("*") for name in self._names if name.startswith("*."))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = Headers(scope=scope).get("host", "") if scope["type"] == "http" else LOCAL
        if self._knows(name_of(host)):
            return await self._app(scope, receive, send)
        code = "host_not_allowed"
        error = ProblemError(code, f"the header Host is {host[:80]!r}, which is no name of this server")
        document = error.document(scope["state"]["request_id"], for_openai=is_openai(scope["path"]))
        await Response(document, error.kind.status, {"Content-Type": MEDIA_TYPE})(scope, receive, send)

    def _knows(self, name: str) -> bool:
        return ANY in self._names or name in self._names or name.endswith(self._suffixes) or is_loopback(name)


def hosts_of(bound_to: str, allowed: Collection[str]) -> Collection[str]:
    """The names besides this machine's own: those allowed; where none are, any for a server that others can reach."""
    return allowed or (() if is_loopback(bound_to) else (ANY,))


def name_of(host: str) -> str:
    """Of a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback(name: str) -> bool:
    """Whether a name or an address can only be this machine's."""
    if name == LOCAL or name.endswith(f".{LOCAL}"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
