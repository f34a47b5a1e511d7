"""Whether evidence supports an answer."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from query_api.answer.support import NO_SUPPORT, assess
from schemas.settings import QuerySettings
from tests.unit.query_api.answer.passages import passage

ENOUGH = QuerySettings().min_support
PIN = passage("You can change your PIN at any cash machine.", title="Change your PIN", vector_score=0.85, keyword_score=9.0)
FREEZE = passage(
    "Freeze the card in the app.", doc="freeze", title="Freeze a card", vector_score=0.3, keyword_score=1.0, score=0.2
)


def test_an_article_that_answers_is_enough() -> None:
    """Close in meaning and holding the words: above the default threshold."""
    assert assess("How do I change my PIN?", [PIN, FREEZE]).score > ENOUGH


def test_what_is_left_after_a_delete_is_not_enough() -> None:
    """Without the article the rest is no evidence."""
    assert assess("How do I change my PIN?", [FREEZE]).score < ENOUGH


def test_nothing_supports_nothing() -> None:
    """No passages: no support."""
    assert assess("anything", []) == NO_SUPPORT


def test_without_vectors_words_decide() -> None:
    """Keyword mode: most of the question's words, or it is no evidence."""
    by_words = replace(PIN, vector_score=None)
    assert assess("How do I change my PIN?", [by_words]).score > ENOUGH
    assert assess("How do I bake sourdough bread?", [by_words]).score < ENOUGH


@given(st.floats(-1, 1), st.floats(0, 1))
def test_more_similar_is_not_less_support(cosine: float, more: float) -> None:
    """Monotone in the best cosine, all else equal; always in [0, 1]."""
    low = assess("change PIN", [replace(PIN, vector_score=cosine)])
    high = assess("change PIN", [replace(PIN, vector_score=min(1.0, cosine + more))])
    assert 0 <= low.score <= high.score <= 1
