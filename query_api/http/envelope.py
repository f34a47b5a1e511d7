"""Around every request: an id, a log line without a question's text, counts, and an answer whatever goes wrong inside."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter as Counts
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from query_api.http.problems import MEDIA_TYPE, ProblemError

REQUEST_ID: Final = "X-Request-ID"
BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CLIENT_GONE: Final = 499
QUIET: Final = frozenset({"/healthz", "/readyz", "/metrics"})

_USABLE_ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_log = structlog.get_logger(__name__)


class HttpMetrics:
    """Names start with `rag_http_`; routes are templates, so that callers can't make new ones."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("rag_http_requests", "Requests by route and status.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "rag_http_seconds", "Until the whole response was sent.", ["route"], registry=registry, buckets=BUCKETS_S
        )
        self.open = Gauge("rag_http_open", "Requests being worked on.", registry=registry)


class Envelope:
    """The outermost layer that is ours."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request_id = _request_id(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (REQUEST_ID.lower().encode(), request_id.encode())]}
            await send(message)

        began = time.perf_counter()
        with self._metrics.open.track_inprogress():
            try:
                if why := _ambiguity(scope):
                    code = "bad_request"
                    await _send_problem(scope, send_on, ProblemError(code, why, headers={"Connection": "close"}))
                else:
                    await self._app(scope, receive, send_on)
            except ClientDisconnect:
                state["ended"] = "client_gone"
            except Exception as exc:
                _log.error("request_crashed", request_id=request_id, path_template=_route(scope), exc_info=exc)
                if status:
                    raise  # the server cuts the connection: half a response must not look whole
                code = "internal_error"
                await _send_problem(scope, send_on, ProblemError(code, "the request could not be worked on"))
            finally:
                self._note(scope, status or CLIENT_GONE, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, took_s: float) -> None:
        route, state = _route(scope), scope["state"]
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(took_s)
        log = _log.debug if route in QUIET else _log.info
        log(
            "http_request",
            request_id=state["request_id"],
            method=scope["method"],
            route=route,
            status=status,
            took_ms=round(took_s * 1000, 1),
            by=state.get("by"),
            ended=state.get("ended"),
        )


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID.lower().encode() and _USABLE_ID.fullmatch(given := value.decode("latin-1")):
            return str(given)
    return uuid.uuid4().hex


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", None) or "none")


def _ambiguity(scope: Scope) -> str:
    """What a proxy before this server may have read otherwise: where the request ends, or who sends it. Empty: nothing."""
    names = Counts(name for name, _ in scope["headers"])
    if names[b"content-length"] and names[b"transfer-encoding"]:
        return "there must not be both Content-Length and Transfer-Encoding"
    return "there must be one header Authorization at most" if names[b"authorization"] > 1 else ""


async def _send_problem(scope: Scope, send: Send, error: ProblemError) -> None:
    body = error.document(scope["state"]["request_id"], for_openai=is_openai(scope["path"]))
    more = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": error.kind.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def is_openai(path: str) -> bool:
    """Whether OpenAI's clients use this path."""
    return path.startswith(("/v1/chat/", "/v1/models"))
