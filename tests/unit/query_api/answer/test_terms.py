"""Words that carry meaning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.answer.terms import Bearing, content_terms, coverage, rarity, stem, terms


@pytest.mark.parametrize(
    "family", [("activate", "activating", "activation", "activated"), ("refund", "refunds", "refunded"), ("cancel", "cancelled")]
)
def test_inflections_meet(family: tuple[str, ...]) -> None:
    """Inflections of a word have one stem."""
    assert len({stem(word) for word in family}) == 1


def test_function_words_carry_no_meaning() -> None:
    """A question's frame is left out; its subject stays."""
    assert content_terms("How do I change my PIN?") == [stem("change"), "pin"]


def test_a_question_of_function_words_only_keeps_them() -> None:
    """Something is always left to compare."""
    assert content_terms("who are you")


def test_versions_are_words_of_their_own() -> None:
    """2.3 is not 2.4."""
    assert "2.3" in terms("Milvus 2.3 notes")
    assert "2.4" not in terms("Milvus 2.3 notes")


def test_cjk_goes_by_characters() -> None:
    """Text without spaces still has words."""
    assert terms("退款政策") == list("退款政策")


@given(st.text(max_size=60), st.lists(st.text(max_size=60), max_size=4))
def test_coverage_is_a_share(question: str, texts: list[str]) -> None:
    """Any text: the share lies in [0, 1], and a text covers itself."""
    sets = [frozenset(terms(text)) for text in texts]
    weights = rarity(content_terms(question), sets)
    assert all(weight > 0 for weight in weights.values())
    assert all(0 <= coverage(weights, found) <= 1 for found in sets)
    if weights:
        assert coverage(weights, frozenset(terms(question))) == pytest.approx(1.0)


_TEXT = st.text(alphabet="aboutcellsing0123.,-_ 'é退½²ß\n", max_size=40)


@given(st.lists(_TEXT, max_size=3), _TEXT, st.sampled_from([1, 3, 5, 32]))
def test_what_bears_on_a_question_is_found_among_all_terms(wanted: list[str], text: str, letters: int) -> None:
    """Looking only at likely places finds just what looking at every word would."""
    asked = {term for one in wanted for term in terms(one)}
    beginnings = {term[:letters] for term in asked}
    found, alike = Bearing(asked, letters).of(text), {term for term in terms(text) if term[:letters] in beginnings}
    assert found <= alike
    assert found & asked == alike & asked
    assert {term[:letters] for term in found} == {term[:letters] for term in alike}
