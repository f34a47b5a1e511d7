"""Passages with the words around them: laws over any document."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.keyword.surroundings import REACH, passages_of

LINES = st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=5), max_size=3 * REACH)


@given(LINES)
def test_a_passage_has_its_neighbours_within_reach(texts: list[str]) -> None:
    """Its own words, those of up to REACH passages on either side in their order, and no others."""
    made = passages_of("title", [(f"r{n}", text) for n, text in enumerate(texts)])
    assert [(passage.row_id, passage.text, passage.title) for passage in made] == [
        (f"r{n}", text, "title") for n, text in enumerate(texts)
    ]
    for n, passage in enumerate(made):
        within = [text for place, text in enumerate(texts) if abs(place - n) <= REACH]
        assert passage.context.split("\n") == within
