"""From a model's first token to the caller's first piece of text, over HTTP as server-sent events."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from benchmarks.asking import Asked, Caller
from benchmarks.percentiles import percentiles
from benchmarks.read_server import read_server
from benchmarks.read_stack import ReadStack
from benchmarks.scripted_model import ScriptedModel, scripted_model
from schemas.settings import LlmSettings

WARM_UP: Final = 5


def measure(stack: ReadStack, *, quick: bool) -> dict[str, Any]:
    """One caller. Only answers that the model wrote count: with too little evidence it isn't asked."""
    samples = 20 if quick else 100
    questions = stack.titles[: samples + WARM_UP]
    with scripted_model() as model:
        llm = LlmSettings.model_validate({"kind": "openai", "base_url": model.url, "api_key": "none", "model": "scripted"})
        settings = stack.settings.model_copy(update={"llm": llm})
        with read_server(stack.servers, settings, "streaming") as server:
            caller = Caller(server.url)
            try:
                asked = [caller.stream(question, cache="off") for question in questions][WARM_UP:]
            finally:
                caller.close()
        return result_of(asked, model)


def result_of(asked: list[Asked], model: ScriptedModel) -> dict[str, Any]:
    """Milliseconds between the two, and how many answers there were to measure."""
    delays = []
    for one in asked:
        first_token_s = model.first_token_between(one.began_s, one.ended_s)
        if first_token_s is not None and one.first_delta_s is not None:
            delays.append((one.first_delta_s - first_token_s) * 1000)
    return {
        "asked": len(asked),
        "outcomes": Counter(str(one.answer.get("outcome")) for one in asked),
        "delay_ms": percentiles(delays),
    }
