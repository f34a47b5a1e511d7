"""OpenAI's interface, asked by OpenAI's own client over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from query_api.http.chat import IGNORED, ChatShape
from query_api.query import Listen
from schemas.queries import AnswerEvent
from tests.unit.query_api.http.serving import Scripted, Site

MESSAGES: Any = [{"role": "user", "content": "How do I change my PIN?"}]


class Served:
    """A client and what it talks to."""

    def __init__(self, client: openai.OpenAI, pipeline: Scripted, site: Site) -> None:
        self.client = client
        self.pipeline = pipeline
        self.site = site


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    pipeline = Scripted("Tap ", "Cards. [1]")
    site = Site(tmp_path, pipeline)
    with (
        site.served() as service,
        openai.OpenAI(base_url=f"{service.url}/v1", api_key=site.maya.key, max_retries=0, timeout=20) as client,
    ):
        yield Served(client, pipeline, site)


def test_a_completion_with_usage_and_citations(served: Served) -> None:
    """As OpenAI's, and what it has no field for beside it."""
    made = served.client.chat.completions.create(model="ragstream", messages=MESSAGES)
    assert made.choices[0].message.content == "Tap Cards. [1]"
    assert made.choices[0].finish_reason == "stop"
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.completion_tokens, made.usage.total_tokens) == (7, 3, 10)
    assert made.model_extra is not None
    assert made.model_extra["ragstream"]["citations"][0]["doc_id"] == "pin"
    assert served.pipeline.asked[0].principals == ("group:hr", "user:maya")


def test_a_stream_ends_with_usage_where_it_is_asked_for(served: Served) -> None:
    """Role first, text as it is made, then the finish, then usage."""
    stream = served.client.chat.completions.create(
        model="ragstream/docs", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert texts == ["Tap ", "Cards. [1]", None]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices] == [None, None, "stop"]
    assert (chunks[-1].choices, chunks[-1].usage and chunks[-1].usage.total_tokens) == ([], 10)
    assert len({chunk.id for chunk in chunks}) == 1
    assert served.pipeline.asked[0].indexes == ("docs",)


def test_models_are_listed_and_found(served: Served) -> None:
    """One for everything, one an index; the slash in a name is no obstacle."""
    assert [model.id for model in served.client.models.list()] == ["ragstream", "ragstream/docs", "ragstream/hr"]
    assert served.client.models.retrieve("ragstream/hr").id == "ragstream/hr"
    with pytest.raises(openai.NotFoundError) as caught:
        served.client.models.retrieve("gpt-4")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_clients_own(served: Served) -> None:
    """Their classes by status, the code readable."""
    with pytest.raises(openai.UnprocessableEntityError) as several:
        served.client.chat.completions.create(model="ragstream", messages=MESSAGES, n=2)
    assert several.value.code == "unsupported_parameter"
    with pytest.raises(openai.NotFoundError):
        served.client.chat.completions.create(model="ragstream/none", messages=MESSAGES)
    with pytest.raises(openai.AuthenticationError):
        served.client.with_options(api_key="sk-wrong").chat.completions.create(model="ragstream", messages=MESSAGES)
    served.pipeline.pieces = ()
    served.pipeline.event = {"outcome": "failed", "reason": "retrieval_failed", "error": "away"}
    with pytest.raises(openai.InternalServerError) as failed:
        served.client.chat.completions.create(model="ragstream", messages=MESSAGES, stream=True)
    assert failed.value.code == "retrieval_failed"


@pytest.mark.parametrize(
    "parameters",
    [
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}, "tools": []},
        {"response_format": {"type": "json_object"}},
        {"response_format": "json_object"},
        {"function_call": "f"},
        {"modalities": ["audio"]},
        {"modalities": "audio"},
        {"n": 2},
        {"logprobs": True},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
    ],
)
def test_what_would_mislead_is_refused(served: Served, parameters: dict[str, Any]) -> None:
    """Rather than ignored."""
    with pytest.raises(openai.UnprocessableEntityError):
        served.client.chat.completions.create(**{"model": "ragstream", "messages": MESSAGES, **parameters})


def test_what_changes_nothing_is_ignored(served: Served) -> None:
    """OpenAI's parameters, and others' that chat windows send."""
    body = {name: None for name in IGNORED} | {"top_k": 5, "chat_id": "x", "seed": 1, "user": "user:root"}
    served.client.chat.completions.create(model="ragstream", messages=MESSAGES, extra_body=body)
    assert served.pipeline.asked[0].principals == ("group:hr", "user:maya")


def test_extras_narrow_the_question(served: Served) -> None:
    """Filters, indexes, passages and the rest travel in `ragstream`; a typo in them is refused."""
    extras = {"filters": {"lang": "en"}, "indexes": ["hr"], "passages": 2, "query_id": "mine"}
    served.client.chat.completions.create(model="ragstream", messages=MESSAGES, extra_body={"ragstream": extras})
    asked = served.pipeline.asked[0]
    assert (asked.indexes, asked.passages, asked.query_id) == (("hr",), 2, "mine")
    assert asked.filters
    with pytest.raises(openai.UnprocessableEntityError):
        served.client.chat.completions.create(model="ragstream", messages=MESSAGES, extra_body={"ragstream": {"filter": {}}})


def test_a_long_conversation_keeps_its_system_message_and_last_turns(served: Served) -> None:
    """Chat windows send all of it, parts and empty tool turns included."""
    turns: Any = [{"role": "system", "content": "Be kind."}]
    for n in range(100):
        turns += [{"role": "user", "content": [{"type": "text", "text": f"q{n}"}]}, {"role": "assistant", "content": f"a{n}"}]
    served.client.chat.completions.create(model="ragstream", messages=[*turns, *MESSAGES])
    messages = served.pipeline.asked[0].messages
    assert (len(messages), messages[0].content) == (64, "Be kind.")
    assert messages[-2].content == "a99"


def test_text_that_is_void_ends_the_stream_in_an_error(served: Served) -> None:
    """A client can't be made to forget it: it is told."""

    async def again(listen: Listen | None) -> None:
        assert listen is not None
        await listen(AnswerEvent(query_id="q", kind="delta", attempt=2, seq=0, delta="new"))

    served.pipeline.before_final = again
    with pytest.raises(openai.APIError) as caught:
        list(served.client.chat.completions.create(model="ragstream", messages=MESSAGES, stream=True))
    assert caught.value.code == "answer_replaced"


def test_a_final_text_that_goes_on_is_sent_to_its_end() -> None:
    """What deltas left out comes before the finish; what contradicts them is an error."""
    shape = ChatShape("ragstream", "q", includes_usage=False, now_s=0)
    shape.delta(AnswerEvent(query_id="q", kind="delta", delta="Tap"))
    assert b'"content":" Cards."' in shape.final(AnswerEvent(query_id="q", outcome="answered", text="Tap Cards."))
    shape = ChatShape("ragstream", "q", includes_usage=False, now_s=0)
    shape.delta(AnswerEvent(query_id="q", kind="delta", delta="Tap"))
    assert b"answer_replaced" in shape.final(AnswerEvent(query_id="q", outcome="answered", text="Other."))
