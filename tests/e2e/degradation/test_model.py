"""The model slow, failing, breaking off, rate limited, away: the static message with the passages found, in time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from query_api.events import STATIC_TEXT
from tests.contract.connectors.llm.scripted import Behaviour, breaks_after, fails, falls_silent, never_answers, says
from tests.e2e.degradation.ground import DEADLINE_S, QUESTIONS, Calls, Crowd, Ground, Heard, Reading, reading
from tests.e2e.degradation.model_server import ModelServer
from tests.servers.proxy import Proxy

# OpenAI's client leaves the generators of a stream that was closed early to be collected; at times one is met half-closed.
LEFT_BEHIND = "ignore:Exception ignored in. <async_generator object Response.aiter_raw:pytest.PytestUnraisableExceptionWarning"
pytestmark = [pytest.mark.timeout(60), pytest.mark.redis, pytest.mark.filterwarnings(LEFT_BEHIND)]

WELL = says("It is so", " [1].")
FIRST_TOKEN_S = 1.0


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with ModelServer(WELL) as server:
        yield server


@pytest.fixture(scope="module")
def to_model(model: ModelServer) -> Iterator[Proxy]:
    with Proxy(int(model.url.rpartition(":")[2].partition("/")[0])) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def writer(small_ground: Ground, to_model: Proxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A query process whose answers a model writes; the breaker as it comes."""
    llm = {"kind": "openai", "base_url": f"http://127.0.0.1:{to_model.port}/v1", "model": "scripted"}
    patience = {"first_token_s": FIRST_TOKEN_S, "idle_s": FIRST_TOKEN_S}
    settings = small_ground.settings(tmp_path_factory.mktemp("writer"), llm={**llm, **patience})
    with reading(settings, small_ground.where) as made:
        yield made


@pytest.fixture
def written(writer: Reading, model: ModelServer, to_model: Proxy) -> Iterator[Reading]:
    """Normal before the test; the model well again after it."""
    writer.wait_normal()
    yield writer
    model.behave(WELL)
    to_model.heal()


def static(heard: Heard, reason: str) -> bool:
    """The message instead of an answer, with citations, and why."""
    event = heard.event
    said = event.text.startswith(STATIC_TEXT) and bool(event.citations)
    return event.outcome == "answered" and event.mode == "static" and said and event.degraded == (reason,)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        pytest.param(never_answers, "model_timeout", marks=pytest.mark.slow),
        pytest.param(falls_silent("It is"), "model_interrupted", marks=pytest.mark.slow),
        pytest.param(fails(500), "model_unavailable", marks=pytest.mark.slow),
        (fails(429), "model_rate_limited"),
        (fails(429, retry_after="3600"), "model_rate_limited"),
        (fails(401), "model_refused"),
        pytest.param(breaks_after("It is"), "model_interrupted", marks=pytest.mark.slow),
    ],
    ids=["silent", "silent halfway", "500", "429", "429 for an hour", "401", "breaks off"],
)
def test_no_answer_of_the_model(written: Reading, model: ModelServer, harm: Behaviour, reason: str) -> None:
    """Each kind of failure is told apart, citations come all the same, and the model's return is noticed within 10 s."""
    with Crowd(written, callers=2) as crowd:
        began = time.monotonic() - 1  # whoever asked just before meets it, too
        model.behave(harm)
        harmed = time.monotonic()
        what = f"the static message for {reason}"
        crowd.wait_for(lambda heard: static(heard, reason), DEADLINE_S + 2, what, began)
        crowd.wait_for(lambda heard: True, DEADLINE_S + 2, "another answer", harmed)
        troubled = crowd.since(harmed)
        model.behave(WELL)
        crowd.wait_normal()
    # Where it failed often it is left alone for a while, which is told as unavailable.
    assert all(static(heard, reason) or static(heard, "model_unavailable") for heard in troubled), Calls(troubled)


@pytest.mark.slow
def test_away_altogether(written: Reading, to_model: Proxy) -> None:
    """Nothing listens where the endpoint was."""
    with Crowd(written, callers=2) as crowd:
        to_model.refuse()
        crowd.wait_for(lambda heard: static(heard, "model_unavailable"), DEADLINE_S + 2, "the static message")
        to_model.heal()
        crowd.wait_normal()


def test_a_stall_that_passes(written: Reading, model: ModelServer) -> None:
    """One error, one short rate limit: asked again within the deadline, and said."""
    for stumble in (fails(500), fails(429, retry_after="1")):
        model.endpoint.script.append(stumble)
        found = written.ask(QUESTIONS[3])
        assert (found.event.mode, found.event.degraded) == ("hybrid", ("model_retried",)), found
        assert found.event.text == "It is so [1]."


def test_text_that_broke_off_is_taken_back(written: Reading, model: ModelServer) -> None:
    """In a stream the pieces that came are void before the static message follows."""
    model.endpoint.script.append(breaks_after("It is"))
    events = written.streamed(QUESTIONS[4])
    assert [name for name, _ in events if name != "delta"] == ["reset", "final"]
    assert events[0][1]["text"].startswith("It is"[:1])
    assert events[-1][1]["mode"] == "static"


@pytest.mark.slow
def test_the_second_endpoint_answers(small_ground: Ground, model: ModelServer, to_model: Proxy, tmp_path: Path) -> None:
    """Where one is named, answers go on, whole, and say so; the first one is used again within 10 s of its return."""
    with ModelServer(says("Second hand", " [1].")) as second:
        llm = {"kind": "openai", "base_url": f"http://127.0.0.1:{to_model.port}/v1", "model": "scripted"}
        fallback = {"fallback_base_url": second.url, "first_token_s": FIRST_TOKEN_S}
        settings = small_ground.settings(tmp_path, llm={**llm, **fallback})
        with reading(settings, small_ground.where) as written:
            written.wait_normal()
            with Crowd(written, callers=2) as crowd:
                for harm in (never_answers, fails(500)):
                    model.behave(harm)
                    heard = crowd.wait_for(
                        lambda heard: "fallback_model" in heard.event.degraded, DEADLINE_S + 2, "the second endpoint"
                    )
                    assert (heard.event.mode, heard.event.text) == ("hybrid", "Second hand [1]."), heard
                    model.behave(WELL)
                    crowd.wait_normal()
