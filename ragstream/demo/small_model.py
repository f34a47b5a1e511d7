"""The demo's last act, where the small language model is installed: it writes from the same passages, token by token."""

from __future__ import annotations

import asyncio
from typing import Final

from prometheus_client import CollectorRegistry

from connectors.llm.local import require_installed
from query_api.deadline import Deadline
from query_api.generation.factory import create_generation
from query_api.generation.metrics import ModelMetrics
from ragstream.asking import new_query_id
from ragstream.corpus.story import PRICE
from ragstream.demo.promises import promise
from ragstream.demo.stage import Stage
from schemas.errors import Misconfigured
from schemas.queries import AnswerEvent, QueryRequest

DEADLINE_S: Final = 30.0
MAX_TOKENS: Final = 120


def is_installed() -> bool:
    """Whether the extra `local-llm` is."""
    try:
        require_installed()
    except Misconfigured:
        return False
    return True


def show_small_model(stage: Stage) -> None:
    """Ask it, print its words as they come, and check what may be checked of so small a model."""
    stage.act("A language model of 135 million parameters, in this process, writes from the same passages; read it critically")
    settings = stage.settings.llm.model_copy(update={"kind": "local"})
    generation = create_generation(settings, ModelMetrics(CollectorRegistry()))
    try:
        pipeline = stage.up.query.path.pipeline(generation)
        request = QueryRequest(query_id=new_query_id(), question=PRICE.text, max_tokens=MAX_TOKENS, cache="off")
        stage.console.print(f"  [bold]anyone:[/] {PRICE.text}\n  → ", end="")
        answer = asyncio.run(pipeline.answer(request, Deadline.after(DEADLINE_S), lambda delta: _print(stage, delta)))
    finally:
        generation.close()
    usage = answer.usage
    stage.say("")
    for citation in answer.citations:
        stage.console.print(f"    [{citation.number}] {citation.title} · {citation.doc_id}", markup=False, style="dim")
    if usage is not None:
        stage.say(f"    [dim]{usage.model}, {usage.completion_tokens} tokens, {(answer.took_ms or 0) / 1000:.1f} s[/]")
    promise(answer.outcome in ("answered", "unknown") and answer.mode != "static", "the small model answers")
    numbers = {citation.number for citation in answer.citations}
    promise(all(1 <= number <= request.passages for number in numbers), "a model cites only passages that it was given")


async def _print(stage: Stage, delta: AnswerEvent) -> None:
    stage.console.print(delta.delta, markup=False, style="green", end="")
