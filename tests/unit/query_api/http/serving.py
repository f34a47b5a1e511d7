"""The HTTP interface over a pipeline of the test's, in this process or served on a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from prometheus_client import CollectorRegistry

from query_api.deadline import Deadline
from query_api.http import HttpApp, HttpService, Pipeline, Ports
from query_api.identity import Authenticator
from query_api.identity.api_keys import NewKey, new_key
from query_api.query import Listen, Look
from schemas.documents import DocumentChange
from schemas.feedback import Feedback
from schemas.index import DocKey
from schemas.queries import AnswerEvent, Citation, QueryRequest, Usage
from schemas.settings import AuthSettings, HttpSettings, IndexSettings, QuerySettings, Settings
from schemas.tokens import WriteToken

JSON = {"Content-Type": "application/json"}


class Sinks:
    """Keeps what is published and given; `failure` is raised in place of taking it."""

    def __init__(self) -> None:
        self.changes: list[DocumentChange] = []
        self.given: list[Feedback] = []
        self.failure: Exception | None = None

    def publish(self, changes: Sequence[DocumentChange]) -> list[WriteToken]:
        if self.failure is not None:
            raise self.failure
        first = len(self.changes)
        self.changes.extend(changes)
        return [WriteToken("log", 0, first + n, DocKey(c.index, c.doc_id)) for n, c in enumerate(changes)]

    def give(self, feedback: Feedback) -> None:
        if self.failure is not None:
            raise self.failure
        self.given.append(feedback)


def citation() -> Citation:
    return Citation(number=1, index="docs", doc_id="pin", title="PIN", version=1, chunk=0, start=0, end=3, score=1.0, text="PIN")


class Scripted:
    """A pipeline that says `pieces` and then `text`; waits for `gate` before the final event where there is one."""

    def __init__(self, *pieces: str, text: str | None = None, **event: Any) -> None:
        self.pieces = pieces
        self.event = {"outcome": "answered", "mode": "hybrid", "citations": (citation(),), **event}
        self.text = "".join(pieces) if text is None else text
        self.asked: list[QueryRequest] = []
        self.repeatable: list[bool] = []
        self.cancelled = 0
        self.before_final: Callable[[Listen | None], Awaitable[object]] | None = None

    async def answer(
        self,
        request: QueryRequest,
        deadline: Deadline,
        listen: Listen | None = None,
        *,
        may_come_again: bool = True,
        look: Look | None = None,
    ) -> AnswerEvent:
        self.asked.append(request)
        self.repeatable.append(may_come_again)
        try:
            for seq, piece in enumerate(self.pieces):
                if listen is not None:
                    await listen(AnswerEvent(query_id=request.query_id, kind="delta", seq=seq, delta=piece))
                    await asyncio.sleep(0)
            if self.before_final is not None:
                await self.before_final(listen)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        usage = Usage(model="test", prompt_tokens=7, completion_tokens=3)
        return AnswerEvent(query_id=request.query_id, text=self.text, usage=usage, **self.event)

    async def search(self, request: QueryRequest, deadline: Deadline, look: Look | None = None) -> AnswerEvent:
        event = await self.answer(request, deadline)
        return event.model_copy(update={"text": ""})


class Site:
    """One interface: settings, ports, keys of three callers."""

    def __init__(self, folder: Path, pipeline: Pipeline, *, http: Any = None, auth: Any = None, **query: Any) -> None:
        self.maya = new_key(["user:maya", "group:hr"], ["ask"])
        self.publisher = new_key(["user:crawler"], ["publish:docs"])
        self.operator = new_key(["user:root"], ["operate", "publish"])
        self.key_file = folder / "keys.yaml"
        self.write_keys(self.maya, self.publisher, self.operator)
        self.settings = Settings(
            data_dir=folder,
            query=QuerySettings(**query),
            http=HttpSettings(port=0, **(http or {})),
            auth=AuthSettings(api_keys_file=self.key_file, **(auth or {})),
            indexes={"hr": IndexSettings()},
        )
        self.sinks = Sinks()
        self.waiting: dict[str, str] = {}
        self.registry = CollectorRegistry()
        self.identity = Authenticator(self.settings.auth)
        self.ports = Ports(pipeline, self.identity, self.sinks, self.sinks, lambda: self.waiting, self.registry)

    def write_keys(self, *keys: NewKey) -> None:
        entries = [key.entry.model_dump(mode="json", exclude_none=True) for key in keys]
        self.key_file.write_text(yaml.safe_dump({"keys": entries}))

    def call(self, method: str, path: str, key: NewKey | None = None, **request: Any) -> httpx.Response:
        """One request in this process, no network."""

        async def send() -> httpx.Response:
            app = HttpApp(self.settings, Ports(*self._ports()))
            try:
                async with httpx.AsyncClient(transport=httpx.ASGITransport(app.asgi), base_url="http://localhost") as client:
                    headers = {**({"Authorization": f"Bearer {key.key}"} if key else {}), **request.pop("headers", {})}
                    return await client.request(method, path, headers=headers, **request)
            finally:
                app.close()

        return asyncio.run(send())

    def post(self, path: str, body: Any, key: NewKey | None = None, **request: Any) -> httpx.Response:
        return self.call("POST", path, key, json=body, **request)

    @contextmanager
    def served(self) -> Iterator[HttpService]:
        service = HttpService(self.settings, Ports(*self._ports()))
        service.start()
        try:
            yield service
        finally:
            service.stop()

    def _ports(self) -> tuple[Any, ...]:
        ports = self.ports
        self.registry = CollectorRegistry()  # names can be registered once
        return ports.pipeline, ports.identity, ports.documents, ports.feedback, ports.waiting_for, self.registry
