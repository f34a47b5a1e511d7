"""A request's body: bounded in size and time while it arrives, declared as JSON, and as a model."""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

from query_api.http.problems import ProblemError
from schemas.errors import Rejected
from schemas.wire import parse

BODY_TIMEOUT_S: Final = 10.0
LARGE_AT_ONCE: Final = 32
"""Bodies of the largest size that are held while they arrive: whoever opens many connections doesn't fill the memory."""
SMALL_BYTES: Final = 64 * 1024
"""A body within this is taken whatever others send."""
_CLOSE: Final = {"Connection": "close"}
"""Nobody reads the rest of a body that was given up."""

M = TypeVar("M", bound=BaseModel)


class BodyReader:
    """Reads bodies of at most `max_bytes`, and not too many large ones at a time. One event loop."""

    def __init__(self, max_bytes: int, timeout_s: float = BODY_TIMEOUT_S) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._arriving = 0

    async def read(self, request: Request) -> bytes:
        """The body, declared as JSON. Raises: ProblemError; ClientDisconnect."""
        _check_media_type(request.headers.get("content-type", ""))
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._max_bytes:
            raise self._too_large()
        held = bytearray()
        try:
            async with asyncio.timeout(self._timeout_s):
                async for part in request.stream():
                    held += part
                    self._arriving += len(part)
                    if len(held) > self._max_bytes:
                        raise self._too_large()
                    if len(held) > SMALL_BYTES and self._arriving > LARGE_AT_ONCE * self._max_bytes:
                        code = "overloaded"
                        raise ProblemError(code, "too many large bodies are arriving", headers=_CLOSE)
        except TimeoutError as exc:
            code = "body_too_slow"
            raise ProblemError(code, f"the body was not there after {self._timeout_s:g} s", headers=_CLOSE) from exc
        finally:
            self._arriving -= len(held)
        return bytes(held)

    async def parse(self, request: Request, model: type[M]) -> M:
        return as_model(model, await self.read(request))

    def _too_large(self) -> ProblemError:
        code = "body_too_large"
        return ProblemError(code, f"the body takes more than {self._max_bytes:,} bytes", headers=_CLOSE)


def as_model(model: type[M], raw: bytes) -> M:
    """Raises: ProblemError, naming where and what, never the values."""
    try:
        return parse(model, raw)
    except Rejected as exc:
        raise problem(exc) from exc


def problem(exc: Rejected) -> ProblemError:
    """What can't be taken, as a problem of the same code."""
    return ProblemError(exc.reason, exc.detail, like="invalid")


def _check_media_type(content_type: str) -> None:
    media_type, _, parameters = content_type.lower().partition(";")
    is_json = media_type.strip() == "application/json" or (
        media_type.strip().startswith("application/") and media_type.strip().endswith("+json")
    )
    charset = parameters.partition("charset=")[2].strip(' "')
    if not is_json or (charset and charset not in {"utf-8", "utf8"}):
        code = "unsupported_media_type"
        # Besides: a web page elsewhere can't send this type to a local server without asking first.
        raise ProblemError(code, "the body must be application/json in UTF-8")
