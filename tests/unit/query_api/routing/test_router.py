"""The decision where a question goes, on vectors made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.embedding.port import Vector
from query_api.routing.file import RoutesFile
from query_api.routing.router import CLOSE, LEAST_LEAD, NEW_WORD, Decision, Router

INDEXES = ("docs", "hr", "lab")
CARDS, PEOPLE, TALK, WEATHER, NOWHERE = range(5)

ROUTES = RoutesFile.model_validate(
    {
        "routes": {
            "cards": {"indexes": ["docs"], "examples": ["How do I freeze my card?"]},
            "people": {"indexes": ["hr", "docs"], "description": "Holidays and pay"},
            "talk": {"examples": ["Hello there", "Good morning"], "reply": "Ask me something.", "min_score": 0.4},
        },
        "background": ["What is the weather forecast made of?"],
    }
)
AXES = {
    "How do I freeze my card?": CARDS,
    "Holidays and pay": PEOPLE,
    "Hello there": TALK,
    "Good morning": TALK,
    "What is the weather forecast made of?": WEATHER,
}


def axis(number: int) -> Vector:
    vector = np.zeros(NOWHERE + 1, np.float32)
    vector[number] = 1.0
    return vector


def at(**cosines: float) -> Vector:
    """A vector of length 1 with these cosines to the axes; what is missing to 1 points nowhere."""
    vector = np.zeros(NOWHERE + 1, np.float32)
    for name, cosine in cosines.items():
        vector[globals()[name.upper()]] = cosine
    vector[NOWHERE] = math.sqrt(max(0.0, 1 - float(vector @ vector)))
    return vector


ROUTER = Router(ROUTES, {text: axis(number) for text, number in AXES.items()}, INDEXES, min_score=0.55)


def decide(question: str = "Hello", requested: tuple[str, ...] = (), **cosines: float) -> Decision:
    return ROUTER.decide(question, at(**cosines), requested)


def test_a_question_goes_where_its_nearest_example_points() -> None:
    """With the route's name and score."""
    decision = decide("Can I block my card?", cards=0.8, people=0.2)
    assert (decision.route.name, decision.route.indexes) == ("cards", ("docs",))
    assert decision.route.score == pytest.approx(0.8)
    assert decision.reply is None


def test_a_description_alone_makes_a_route() -> None:
    """It works as an example; several indexes are searched in the order given."""
    assert decide("When am I paid?", people=0.7).route.indexes == ("hr", "docs")


def test_a_question_near_nothing_goes_everywhere() -> None:
    """Below the least score no route is taken, however far it leads."""
    decision = decide("Why is the sky blue?", cards=0.54)
    assert (decision.route.name, decision.route.indexes) == ("all", INDEXES)


def test_a_question_between_two_routes_is_searched_in_both() -> None:
    """The better one's indexes first."""
    assert decide("Card for expenses?", cards=0.62, people=0.62 - CLOSE / 2).route.indexes == ("docs", "hr")
    assert decide("Card for expenses?", cards=0.62, people=0.62 - CLOSE * 2).route.indexes == ("docs",)


def test_named_indexes_are_searched_whatever_is_said() -> None:
    """A greeting too, and without a vector."""
    for decision in (decide("Hello there", ("lab",), talk=1.0), ROUTER.decide("Hello there", None, ("lab",))):
        assert (decision.route.name, decision.route.indexes, decision.reply) == ("request", ("lab",), None)


def test_without_a_vector_everything_is_searched() -> None:
    """The encoder failed: words alone keep nothing from being looked up."""
    decision = ROUTER.decide("Hello there", None, ())
    assert (decision.route.name, decision.route.indexes, decision.reply) == ("all", INDEXES, None)


def test_small_talk_is_not_looked_up() -> None:
    """No index, and the route's reply."""
    decision = decide("Hello there", talk=0.9)
    assert (decision.route.name, decision.route.indexes, decision.reply) == ("talk", (), "Ask me something.")


def test_every_score_is_shown() -> None:
    """For --explain: all routes and the background."""
    assert decide(talk=0.9, cards=0.1).scores == pytest.approx({"cards": 0.1, "people": 0.0, "talk": 0.9, "background": 0.0})


@pytest.mark.parametrize("rival", ["cards", "people", "weather"])
def test_small_talk_must_stand_above_all_that_is_looked_up(rival: str) -> None:
    """Routes with indexes and the background alike."""
    for lead, is_enough in ((LEAST_LEAD + 0.01, True), (LEAST_LEAD - 0.01, False)):
        decision = ROUTER.decide("Hello", at(**{"talk": 0.6, rival: 0.6 - lead}), ())
        assert (decision.reply is not None) == is_enough


def test_each_new_word_asks_for_more() -> None:
    """A word that no example has raises the score it takes."""
    assert decide("Hello", talk=0.4 + 0.01).reply is not None
    assert decide("Hello zebra", talk=0.4 + 0.01).reply is None
    assert decide("Hello zebra", talk=0.4 + NEW_WORD + 0.01).reply is not None
    assert decide("Good morning", talk=0.5, cards=0.5 - LEAST_LEAD - 0.01).reply is not None
    assert decide("Good morning zebra", talk=0.5, cards=0.5 - LEAST_LEAD - 0.01).reply is None


def test_a_question_behind_a_greeting_is_looked_up() -> None:
    """However near to a greeting its vector is: too many words are not the greeting's."""
    assert decide("Hello there, how do I freeze my lost card?", talk=1.0).reply is None


@given(st.floats(-1, 1), st.floats(0, 1), st.text(max_size=40))
def test_nearer_to_what_is_looked_up_is_never_left_unsearched(talk: float, more: float, question: str) -> None:
    """Whatever the words are, nothing is left unsearched that is as near to a knowledge route."""
    vector = at(talk=talk / 2, cards=min(0.85, talk / 2 + more))
    assert ROUTER.decide(question, vector, ()).reply is None or vector[CARDS] <= vector[TALK] - LEAST_LEAD


def test_without_any_route_everything_is_searched() -> None:
    """Small talk turned off, and none of one's own."""
    decision = Router(RoutesFile(), {}, INDEXES, 0.55).decide("Hello there", axis(TALK), ())
    assert (decision.route.name, decision.route.indexes, decision.route.score) == ("all", INDEXES, None)
