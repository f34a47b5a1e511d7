"""`/metrics`, `/healthz` and `/readyz` in a thread of their own, so that a busy event loop still answers.

`/healthz` says that the process runs; `/readyz` asks every check and answers 503 with what is being waited for.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from schemas.errors import Misconfigured

_log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.05
"""How long `close` waits at most: the standard library's half a second for each server makes a stop felt."""
JSON: Final = "application/json"

Check = Callable[[], str | None]
"""What a part waits for, None when it is ready. Called from another thread; must not block."""


class HealthServer:
    """A running endpoint. `close()` is idempotent."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def start_health_server(host: str, port: int, registry: CollectorRegistry, checks: Mapping[str, Check]) -> HealthServer:
    """Serve until `close()`. Port 0 takes any free one.

    Raises: Misconfigured, when the address can't be bound.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(registry, checks))
    except OSError as exc:
        remedy = "choose another with RAG_OBSERVABILITY__INGEST_PORT, __QUERY_PORT or __HOST (port 0: any free one)"
        msg = f"can't serve metrics and health on {host}:{port}: {exc}; {remedy}"
        raise Misconfigured(msg) from exc
    server.daemon_threads = True
    return HealthServer(server)


def _handler(registry: CollectorRegistry, checks: Mapping[str, Check]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_TIMEOUT_S

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/metrics":
                    self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))
                case "/healthz":
                    self._answer(HTTPStatus.OK, JSON, _json({"status": "alive"}))
                case "/readyz":
                    waiting = _waiting_for(checks)
                    status = HTTPStatus.SERVICE_UNAVAILABLE if waiting else HTTPStatus.OK
                    body = {"status": "waiting" if waiting else "ready", "waiting_for": waiting}
                    self._answer(status, JSON, _json(body))
                case _:
                    self._answer(HTTPStatus.NOT_FOUND, JSON, _json({"paths": ["/metrics", "/healthz", "/readyz"]}))

        def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            _log.debug("health_request", request=format % args)

    return Handler


def _waiting_for(checks: Mapping[str, Check]) -> dict[str, str]:
    waiting: dict[str, str] = {}
    for name, check in checks.items():
        try:
            reason = check()
        except Exception as exc:
            _log.exception("readiness_check_failed", check=name)
            reason = f"the check failed: {type(exc).__name__}"
        if reason is not None:
            waiting[name] = reason
    return waiting


def _json(body: object) -> bytes:
    return json.dumps(body).encode() + b"\n"
