"""A model that says what it was told to, over OpenAI's interface, and notes when its first token went out.

It stands in for nothing but time: what is measured is the way from its first token to the caller.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

TOKENS: Final = ("The", " evidence", " speaks", " of", " it", " [1]", ".", " More", " is", " in", " the", " text", " [1]", ".")
FIRST_AFTER_S: Final = 0.05
"""As long as a fast model takes: the caller's side must be idle, not busy with what came before."""
PAUSE_S: Final = 0.005


class ScriptedModel:
    """Answers every request with the same tokens."""

    def __init__(self, url: str, firsts: list[float]) -> None:
        self.url = url
        self._firsts = firsts

    def first_token_between(self, began_s: float, ended_s: float) -> float | None:
        """When a first token went out in that time, by `time.perf_counter`; None where the model was not asked."""
        return next((at for at in self._firsts if began_s <= at <= ended_s), None)


@contextmanager
def scripted_model() -> Iterator[ScriptedModel]:
    """Serves on a free port of loopback for the length of the block."""
    firsts: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def handle(self) -> None:
            # A client that has the last token hangs up; what it leaves unread is nothing to it.
            with suppress(ConnectionError):
                super().handle()

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if not request.get("stream"):
                self._whole()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._event(_chunk({"role": "assistant", "content": ""}))
            time.sleep(FIRST_AFTER_S)
            for number, token in enumerate(TOKENS):
                if number == 0:
                    firsts.append(time.perf_counter())
                self._event(_chunk({"content": token}))
                time.sleep(PAUSE_S)
            self._event(_chunk({}, "stop"))
            if (request.get("stream_options") or {}).get("include_usage"):
                self._event({**_chunk({}), "choices": [], "usage": _usage()})
            self._raw(b"data: [DONE]\n\n")
            self.wfile.write(b"0\r\n\r\n")

        def _whole(self) -> None:
            message = {"role": "assistant", "content": "".join(TOKENS)}
            body = json.dumps(
                {
                    **_about("chat.completion"),
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": _usage(),
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _event(self, event: dict[str, Any]) -> None:
            self._raw(f"data: {json.dumps(event)}\n\n".encode())

        def _raw(self, data: bytes) -> None:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield ScriptedModel(f"http://127.0.0.1:{server.server_address[1]}/v1", firsts)
    finally:
        server.shutdown()
        server.server_close()


def _about(kind: str) -> dict[str, Any]:
    return {"id": "scripted", "object": kind, "created": 0, "model": "scripted"}


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {**_about("chat.completion.chunk"), "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def _usage() -> dict[str, int]:
    return {"prompt_tokens": 100, "completion_tokens": len(TOKENS), "total_tokens": 100 + len(TOKENS)}
