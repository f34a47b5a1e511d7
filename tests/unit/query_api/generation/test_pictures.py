"""No picture in a model's text is fetched by whoever shows it."""

from hypothesis import given
from hypothesis import strategies as st

from query_api.generation.pictures import PictureFilter

pieces = st.lists(st.text("![](a "), max_size=12)


def filtered(parts: list[str]) -> str:
    one = PictureFilter()
    return "".join(map(one.feed, parts))


def test_a_picture_becomes_a_link() -> None:
    """Nothing is loaded until somebody clicks."""
    assert filtered(["See !", "[x](https://a.example/?q=secret)!"]) == "See ! [x](https://a.example/?q=secret)!"


@given(pieces)
def test_how_it_is_cut_changes_nothing_and_no_picture_is_left(parts: list[str]) -> None:
    """The law of every filter here; and the text is the same but for gaps."""
    text = "".join(parts)
    assert filtered(parts) == filtered([text])
    assert "![" not in filtered(parts)
    assert filtered(parts).replace("! [", "![") == text.replace("! [", "![")
