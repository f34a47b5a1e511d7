"""The door of a running `up`, on loopback only: other commands publish through it. Requests need the token of its file."""

from __future__ import annotations

import hmac
import threading
import urllib.error
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import orjson

from connectors.kafka import OutRecord
from ragstream.embedded.intake import Intake
from schemas.errors import RagError, Rejected, Retryable
from schemas.settings import MIB

MAX_BODY: Final = 64 * MIB
TIMEOUT_S: Final = 300.0
POLL_S: Final = 0.05
"""How long `close` waits at most."""


class Door:
    """Serves `POST /documents`: a JSON list of records in; where they lie out, once they are journaled and in the log."""

    def __init__(self, intake: Intake, token: str) -> None:
        handler = type("_Handler", (_DoorHandler,), {"intake": intake, "token": token})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_S,), name="door", daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _DoorHandler(BaseHTTPRequestHandler):
    intake: Intake
    token: str

    def do_POST(self) -> None:
        given = self.headers.get("Authorization", "")
        if not hmac.compare_digest(given, f"Bearer {self.token}"):
            self._answer(401, {"error": "wrong token"})
            return
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/documents" or not 0 < length <= MAX_BODY:
            self._answer(400, {"error": f"POST /documents with 1 to {MAX_BODY} bytes"})
            return
        try:
            records = [_from_wire(wire) for wire in orjson.loads(self.rfile.read(length))]
            self._answer(200, {"places": self.intake.accept(records)})
        except Rejected as exc:
            self._answer(422, {"reason": exc.reason, "error": exc.detail})
        except (ValueError, KeyError, TypeError) as exc:
            self._answer(400, {"error": f"not a list of records: {exc}"})
        except RagError as exc:
            self._answer(503, {"error": str(exc)})

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are the intake's to count."""

    def _answer(self, status: int, body: dict[str, object]) -> None:
        raw = orjson.dumps(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def deliver(url: str, token: str, records: Sequence[OutRecord]) -> list[tuple[int, int]]:
    """Hand `records` to a running `up`; returns where each lies, (partition, offset). Raises: Rejected, Retryable."""
    body = orjson.dumps([_to_wire(record) for record in records])
    request = urllib.request.Request(f"{url}/documents", body, {"Authorization": f"Bearer {token}"}, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return [(int(partition), int(offset)) for partition, offset in orjson.loads(response.read())["places"]]
    except urllib.error.HTTPError as exc:
        problem = orjson.loads(exc.read())
        if "reason" in problem:
            raise Rejected(problem["reason"], problem["error"]) from exc
        msg = f"the running ragstream answered {exc.code}: {problem['error']}"
        raise Retryable(msg) from exc
    except OSError as exc:
        msg = f"the running ragstream at {url} does not answer: {exc}"
        raise Retryable(msg) from exc


def _to_wire(record: OutRecord) -> dict[str, object]:
    return {
        "key": b64encode(record.key or b"").decode(),
        "value": b64encode(record.value).decode() if record.value is not None else None,
        "timestamp_ms": record.timestamp_ms,
        "headers": [(name, b64encode(value).decode()) for name, value in record.headers],
    }


def _from_wire(wire: dict[str, Any]) -> OutRecord:
    return OutRecord(
        topic="",
        key=b64decode(wire["key"]),
        value=b64decode(wire["value"]) if wire["value"] is not None else None,
        timestamp_ms=wire["timestamp_ms"],
        headers=tuple((name, b64decode(value)) for name, value in wire["headers"]),
    )
