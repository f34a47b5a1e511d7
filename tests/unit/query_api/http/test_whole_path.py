"""HTTP before the real pipeline: what callers with different rights are told, and what errors and writes tell them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.index import DocKey
from schemas.tokens import WriteToken
from tests.unit.query_api.http.serving import Site
from tests.unit.query_api.http.test_answers import events
from tests.unit.query_api.world import World

SECRET = "The merger with Harbour closes on Friday."
QUESTION = {"question": "When does the merger with Harbour close?"}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world")
    made.upsert("merger", 1, SECRET, ("group:hr",))
    made.upsert("pin", 1, "You can change your card PIN at any cash machine.")
    yield made
    made.close()


@pytest.fixture
def site(world: World, tmp_path: Path) -> Site:
    return Site(tmp_path, world.pipeline)


@pytest.mark.parametrize("path", ["/v1/answers", "/v1/search"])
def test_a_caller_is_told_what_it_may_read(site: Site, path: str) -> None:
    """Its group's documents; anonymous hears the same as if there were none, also with `explain`."""
    assert SECRET in site.post(path, QUESTION, site.maya).text
    told = site.post(path, {**QUESTION, "explain": True})
    assert "merger" not in told.text.replace(QUESTION["question"], "")
    assert "withheld" not in told.text
    assert "withheld" in site.post(path, {**QUESTION, "explain": True}, site.operator).text


@pytest.mark.parametrize("path", ["/v1/answers", "/v1/search"])
def test_how_long_a_step_took_is_told_to_operators_only(site: Site, path: str) -> None:
    """Where more is hidden, more is fetched and checked."""
    for key, is_told in ((None, False), (site.maya, False), (site.operator, True)):
        explanation = site.post(path, {**QUESTION, "explain": True}, key).json()["explanation"]
        assert bool(explanation["timings_ms"]) is is_told
        assert [("took_ms" in arm) for arm in explanation["arms"]] == [is_told] * 2


def test_a_stream_holds_the_answer_and_its_sources(site: Site) -> None:
    """Token by token, then all of it."""
    found = events(site.post("/v1/answers", {**QUESTION, "stream": True}, site.maya).text)
    assert found[-1][0] == "final"
    assert found[-1][1]["citations"][0]["doc_id"] == "merger"
    assert "".join(data["text"] for name, data in found if name == "delta") in {"", found[-1][1]["text"]}


def test_openai_shape_over_the_real_pipeline(site: Site) -> None:
    """What it knows, and what it doesn't, are both completions."""
    body = {"model": "ragstream/docs", "messages": [{"role": "user", "content": QUESTION["question"]}]}
    assert SECRET in site.post("/v1/chat/completions", body, site.maya).json()["choices"][0]["message"]["content"]
    unknown = site.post("/v1/chat/completions", body).json()
    assert unknown["ragstream"]["outcome"] == "unknown"
    assert SECRET not in str(unknown)


def test_waiting_for_writes_tells_nothing_of_hidden_documents(world: World, site: Site) -> None:
    """A token that will never be satisfied is `not_yet`, whoever asks and whether the document exists or not."""
    log_id = world.view._opened().documents_log
    answers = set()
    for doc_id in ("merger", "none-such"):
        token = str(WriteToken(log_id, 0, 1_000, DocKey("docs", doc_id)))
        response = site.post("/v1/answers", {**QUESTION, "after": [token], "timeout_ms": 300})
        answers.add((response.status_code, response.json()["code"], response.json()["detail"]))
    assert answers == {(503, "not_yet", next(iter(answers))[2])}
    done = str(WriteToken(log_id, 0, 0, DocKey("docs", "pin")))
    assert site.post("/v1/answers", {**QUESTION, "after": [done]}, site.maya).status_code == 200
    assert site.post("/v1/answers", {**QUESTION, "after": ["nonsense"]}).json()["code"] == "bad_token"


def test_an_index_that_is_not_there(site: Site) -> None:
    """The pipeline's own reason is the code."""
    assert site.post("/v1/answers", {**QUESTION, "indexes": ["none"]}).json()["code"] == "unknown_index"
