"""The routes: each one identifies the caller, reads its body, and hands over. docs/http.md tells users."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from query_api.deadline import Deadline
from query_api.http.answering import EVENT_STREAM, AnswerResponse, AnswerShape, Serving, Shape
from query_api.http.bodies import BodyReader, as_model, problem
from query_api.http.chat import ChatRequest, ChatShape, model_card, models
from query_api.http.description import SECURITY, body_of, describe_with, problems
from query_api.http.envelope import REQUEST_ID, Envelope, HttpMetrics, is_openai
from query_api.http.hosts import KnownHosts, hosts_of
from query_api.http.models import (
    AnswerRequest,
    DocumentChanges,
    FeedbackRequest,
    FeedbackTaken,
    Health,
    Problem,
    Published,
    Readiness,
    SearchRequest,
)
from query_api.http.ports import Ports
from query_api.http.problems import MEDIA_TYPE, ProblemError
from query_api.http.turns import Turns
from query_api.identity import BadCredentials, Identity, KeysUnavailable
from schemas.documents import DocumentChange
from schemas.errors import Rejected, Retryable
from schemas.feedback import Feedback
from schemas.queries import AnswerEvent, QueryId
from schemas.settings import Settings
from schemas.wire import from_ms, to_ms

SINK_THREADS: Final = 4
MAX_WRITING: Final = 32
WRITE_TIMEOUT_S: Final = 20.0
TIMEOUT_HEADER: Final = "X-Timeout-Ms"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
DESCRIPTION: Final = "Answers from documents: fresh, permitted and cited. Errors are problem documents with a stable `code`."

_QUERY_ID: Final[TypeAdapter[str]] = TypeAdapter(QueryId)
_WRITE_PROBLEMS: Final = (400, 401, 403, 408, 413, 415, 422, 500, 503, 504)
_ASK_PROBLEMS: Final = (*_WRITE_PROBLEMS, 429)
_EVENT: Final = {
    "type": "object",
    "description": "Of each server-sent event: its name, and JSON as text.",
    "properties": {"event": {"type": "string"}, "data": {"type": "string"}},
    "required": ["data"],
}

_BODIES: Final[tuple[type[BaseModel], ...]] = (
    AnswerRequest,
    SearchRequest,
    ChatRequest,
    DocumentChange,
    DocumentChanges,
    FeedbackRequest,
    Problem,
)

R = TypeVar("R")


class HttpApp:
    """The ASGI application `asgi`, and what ends it. One event loop.

    Args:
        host: what it is bound to; None: what the settings say.
    """

    def __init__(
        self,
        settings: Settings,
        ports: Ports,
        host: str | None = None,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._now_ms = now_ms
        self._bodies = BodyReader(settings.http.max_body_kib * 1024)
        self.turns = Turns(settings.http.concurrency, settings.http.caller_share)
        self._serving = Serving(self.turns, settings.http.keep_alive_s)
        self._writers = ThreadPoolExecutor(SINK_THREADS, thread_name_prefix="http-write")
        self._writing = 0
        self.asgi = FastAPI(
            title="ragstream", version="1", description=DESCRIPTION, separate_input_output_schemas=False, redirect_slashes=False
        )
        http = settings.http  # what is added first is innermost
        if http.cors_origins:
            self.asgi.add_middleware(
                CORSMiddleware,
                allow_origins=http.cors_origins,
                allow_methods=("GET", "POST"),
                allow_headers=("*",),  # credentials are a header that a page must hold itself; there are no cookies
                expose_headers=(REQUEST_ID, "Retry-After"),
            )
        self.asgi.add_middleware(KnownHosts, names=hosts_of(host or http.host, http.allowed_hosts))
        self.asgi.add_middleware(Envelope, metrics=HttpMetrics(ports.registry))
        self.asgi.add_exception_handler(ProblemError, _told_problem)
        self.asgi.add_exception_handler(HTTPException, _told_http)
        self._add_routes()
        describe_with(self.asgi, _BODIES)

    def close(self) -> None:
        """Release the threads that write. Never raises."""
        self._writers.shutdown(wait=False, cancel_futures=True)

    def _add_routes(self) -> None:
        ask = problems(*_ASK_PROBLEMS)
        open_to_all = {"security": SECURITY}
        streams: dict[int | str, dict[str, Any]] = {
            200: {"model": AnswerEvent, "content": {EVENT_STREAM: {"schema": _EVENT}}, "description": "The answer"}
        }
        chat: dict[int | str, dict[str, Any]] = {
            200: {
                "description": "The completion",
                "content": {"application/json": {}, EVENT_STREAM: {"schema": _EVENT}},
            }
        }
        add = self.asgi.add_api_route
        add("/v1/answers", self.answers, methods=["POST"], openapi_extra=body_of(AnswerRequest), responses={**streams, **ask})
        add(
            "/v1/search",
            self.search,
            methods=["POST"],
            openapi_extra=body_of(SearchRequest),
            responses={200: {"model": AnswerEvent, "description": "Passages, as `citations`"}, **ask},
        )
        add(
            "/v1/chat/completions",
            self.chat,
            methods=["POST"],
            openapi_extra=body_of(ChatRequest),
            responses={**chat, **ask, **problems(404)},
        )
        add("/v1/models", self.list_models, methods=["GET"], openapi_extra=open_to_all, responses=problems(401, 403, 500, 503))
        add(
            "/v1/models/{model:path}",
            self.one_model,
            methods=["GET"],
            openapi_extra=open_to_all,
            responses=problems(401, 403, 404, 500, 503),
        )
        add(
            "/v1/documents",
            self.documents,
            methods=["POST"],
            openapi_extra=body_of(DocumentChange, DocumentChanges),
            responses={200: {"model": Published, "description": "In the log"}, **problems(*_WRITE_PROBLEMS)},
        )
        add(
            "/v1/feedback",
            self.feedback,
            methods=["POST"],
            status_code=202,
            openapi_extra=body_of(FeedbackRequest),
            responses={202: {"model": FeedbackTaken, "description": "In the log"}, **problems(*_WRITE_PROBLEMS)},
        )
        add("/healthz", self.healthz, methods=["GET"], responses={200: {"model": Health}})
        add("/readyz", self.readyz, methods=["GET"], responses={200: {"model": Readiness}, 503: {"model": Readiness}})
        text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
        add(
            "/metrics",
            self.metrics,
            methods=["GET"],
            response_class=Response,
            openapi_extra=open_to_all,
            responses={**text, **problems(401, 403, 503)},
        )

    # -- asking

    async def answers(self, request: Request) -> Response:
        """An answer with its sources: JSON, or server-sent events token by token."""
        arrived = time.monotonic()
        caller = await self._asker(request)
        asked = await self._bodies.parse(request, AnswerRequest)
        streams = asked.stream if asked.stream is not None else EVENT_STREAM in request.headers.get("accept", "")
        return self._answer(request, caller, asked, arrived, AnswerShape(), _query_id(request, asked.query_id), streams=streams)

    async def search(self, request: Request) -> Response:
        """Passages only, for teams with a model of their own."""
        arrived = time.monotonic()
        caller = await self._asker(request)
        asked = await self._bodies.parse(request, SearchRequest)
        query_id = _query_id(request, asked.query_id)
        query = _query(asked, query_id, caller, stream=False)
        deadline = self._deadline(request, asked, arrived)
        pipeline = self._ports.pipeline
        return AnswerResponse(
            self._serving,
            caller.principals,
            query_id,
            lambda _, look: pipeline.search(query, deadline, look),
            deadline,
            AnswerShape(),
            streams=False,
        )

    async def chat(self, request: Request) -> Response:
        """OpenAI's chat completions; `model` is `ragstream` or `ragstream/INDEX`."""
        arrived = time.monotonic()
        caller = await self._asker(request)
        chat = await self._bodies.parse(request, ChatRequest)
        asked = chat.answer_request(tuple(self._settings.indexes))
        query_id = _query_id(request, asked.query_id)
        includes_usage = chat.stream_options is not None and chat.stream_options.include_usage
        shape = ChatShape(chat.model, query_id, includes_usage=includes_usage)
        return self._answer(request, caller, asked, arrived, shape, query_id, streams=bool(asked.stream))

    def _answer(
        self,
        request: Request,
        caller: Identity,
        asked: AnswerRequest,
        arrived: float,
        shape: Shape,
        query_id: str,
        *,
        streams: bool,
    ) -> Response:
        more = {"cache": asked.cache, "max_tokens": asked.max_tokens, "temperature": asked.temperature, "stream": streams}
        query = _query(asked, query_id, caller, **more)
        deadline = self._deadline(request, asked, arrived)
        pipeline = self._ports.pipeline
        is_named = asked.query_id is not None or IDEMPOTENCY_HEADER in request.headers
        return AnswerResponse(
            self._serving,
            caller.principals,
            query_id,
            lambda listen, look: pipeline.answer(
                query, deadline, listen if streams else None, may_come_again=is_named, look=look
            ),
            deadline,
            shape,
            streams=streams,
        )

    async def list_models(self, request: Request) -> Response:
        """What `model` may be in a chat completion."""
        await self._asker(request)
        cards = [model_card(name) for name in models(tuple(self._settings.indexes))]
        return JSONResponse({"object": "list", "data": cards})

    async def one_model(self, request: Request, model: str) -> Response:
        """One of them."""
        await self._asker(request)
        if model not in models(tuple(self._settings.indexes)):
            code = "model_not_found"
            raise ProblemError(code, f"there is no model {model[:80]!r}")
        return JSONResponse(model_card(model))

    # -- telling

    async def documents(self, request: Request) -> Response:
        """Publish one change, or a list of them: all of it or, after an error, perhaps a part, which does no harm sent again."""
        caller = await self._caller(request)
        raw = await self._bodies.read(request)
        is_list = raw.lstrip()[:1] == b"["
        changes = as_model(DocumentChanges, raw).root if is_list else (as_model(DocumentChange, raw),)
        for change in changes:
            # Before whether there is such an index: what may not be written to is not told of.
            if not caller.scopes.may_publish(change.index):
                _refuse(caller, f"publish:{change.index}")
        unknown = sorted({change.index for change in changes} - set(self._settings.indexes))
        if unknown:
            code = "unknown_index"
            raise ProblemError(code, f"no such index: {', '.join(unknown)}")
        tokens = await self._written(lambda: self._ports.documents.publish(changes))
        return JSONResponse(Published(accepted=len(tokens), tokens=tuple(map(str, tokens))).model_dump(mode="json"))

    async def feedback(self, request: Request) -> Response:
        """Say what an answer was worth. It counts only from whoever asked; whether it does is not told."""
        caller = await self._asker(request)
        given = await self._bodies.parse(request, FeedbackRequest)
        feedback = Feedback(
            query_id=given.query_id,
            rating=given.rating,
            comment=given.comment,
            principal=caller.name,
            given_at=from_ms(self._now_ms()),
        )
        await self._written(lambda: self._ports.feedback.give(feedback))
        return JSONResponse(FeedbackTaken(query_id=given.query_id).model_dump(mode="json"), status_code=202)

    async def _written(self, write: Callable[[], R]) -> R:
        """What `write` returns, from a thread of its own; once begun it goes on whatever becomes of the client."""
        if self._writing >= MAX_WRITING:
            code = "overloaded"
            raise ProblemError(code, f"{MAX_WRITING} writes are being worked on")
        self._writing += 1
        future = asyncio.get_running_loop().run_in_executor(self._writers, write)
        future.add_done_callback(self._has_written)
        done, _ = await asyncio.wait([future], timeout=WRITE_TIMEOUT_S)
        code = "not_acknowledged"
        if not done:
            raise ProblemError(code, f"the log did not acknowledge within {WRITE_TIMEOUT_S:g} s")
        try:
            return future.result()
        except Rejected as exc:
            raise problem(exc) from exc
        except Retryable as exc:
            raise ProblemError(code, str(exc)) from exc

    def _has_written(self, future: asyncio.Future[Any]) -> None:
        self._writing -= 1
        if not future.cancelled():
            future.exception()  # looked at: a client that has gone doesn't read it

    # -- how it is

    async def healthz(self) -> Response:
        """The process runs."""
        return JSONResponse(Health().model_dump())

    async def readyz(self) -> Response:
        """Whether it is caught up enough to answer; 503 says what it waits for."""
        waiting = dict(self._ports.waiting_for())
        readiness = Readiness(status="waiting" if waiting else "ready", waiting_for=waiting)
        return JSONResponse(readiness.model_dump(), status_code=503 if waiting else 200)

    async def metrics(self, request: Request) -> Response:
        """For Prometheus, with the scope `operate`: counts of what was withheld would tell others of hidden documents."""
        caller = await self._caller(request)
        if not caller.scopes.operate:
            _refuse(caller, "operate")
        text = await asyncio.to_thread(generate_latest, self._ports.registry)
        return Response(text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    # -- who asks, until when

    async def _caller(self, request: Request) -> Identity:
        try:
            caller = await self._ports.identity.identify(request.headers.get("authorization"))
        except BadCredentials as exc:
            raise ProblemError(exc.reason, exc.detail, like="invalid_credentials") from exc
        except KeysUnavailable as exc:
            code = "credentials_unverifiable"
            raise ProblemError(code, str(exc)) from exc
        request.state.by = caller.by
        return caller

    async def _asker(self, request: Request) -> Identity:
        caller = await self._caller(request)
        if not caller.scopes.ask:
            _refuse(caller, "ask")
        return caller

    def _deadline(self, request: Request, asked: SearchRequest, arrived: float) -> Deadline:
        """The earliest of what the request says, and at most the settings'."""
        limits: list[float] = []
        if asked.timeout_ms is not None:
            limits.append(asked.timeout_ms / 1000)
        if asked.deadline is not None:
            limits.append((to_ms(asked.deadline) - self._now_ms()) / 1000)
        header = request.headers.get(TIMEOUT_HEADER)
        if header is not None:
            if not (header.isascii() and header.isdecimal() and 0 < len(header) < 8 and int(header)):  # noqa: PLR2004
                code = "invalid"
                raise ProblemError(code, f"{TIMEOUT_HEADER} must be milliseconds, 1 to 9999999")
            limits.append(int(header) / 1000)
        return Deadline.of_request(arrived, self._settings.query.deadline_s, min(limits, default=None))


def _query(asked: SearchRequest, query_id: str, caller: Identity, **more: Any) -> Any:
    try:
        return asked.query(query_id, caller, **more)
    except Rejected as exc:
        raise problem(exc) from exc


def _query_id(request: Request, in_body: str | None) -> str:
    header = request.headers.get(IDEMPOTENCY_HEADER)
    if header is not None and in_body is not None and header != in_body:
        code = "query_id_conflict"
        raise ProblemError(code, f"`query_id` and {IDEMPOTENCY_HEADER} differ")
    if header is None:
        return in_body or uuid.uuid4().hex
    try:
        return _QUERY_ID.validate_python(header, strict=True)
    except ValidationError as exc:
        code = "invalid"
        raise ProblemError(code, f"{IDEMPOTENCY_HEADER} must be a line of 1 to 128 characters") from exc


def _refuse(caller: Identity, scope: str) -> None:
    if caller.is_anonymous:
        code = "credentials_required"
        raise ProblemError(code, f"this needs credentials with the scope `{scope}`")
    code = "scope_missing"
    raise ProblemError(code, f"the credentials lack the scope `{scope}`")


async def _told_problem(request: Request, exc: Exception) -> Response:
    if not isinstance(exc, ProblemError):
        raise exc
    document = exc.document(request.state.request_id, for_openai=is_openai(request.url.path))
    return Response(document, exc.kind.status, {**exc.headers, "Content-Type": MEDIA_TYPE})


async def _told_http(request: Request, exc: Exception) -> Response:
    """What the router refuses."""
    if not isinstance(exc, HTTPException):
        raise exc
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(exc.status_code, "bad_request")
    detail = {404: "no such path", 405: f"{request.method[:20]} is not taken here"}.get(exc.status_code, str(exc.detail))
    return await _told_problem(request, ProblemError(code, detail, headers=exc.headers))
