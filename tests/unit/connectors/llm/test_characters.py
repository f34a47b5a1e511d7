"""Half characters of an endpoint's JSON never get beyond it."""

from hypothesis import given
from hypothesis import strategies as st

from connectors.llm.characters import WholeCharacters


def joined(pieces: list[str]) -> str:
    whole = WholeCharacters()
    return "".join(map(whole.feed, pieces))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_in_halves_is_whole_again(text: str) -> None:
    """However tokens cut it: here between any two units of JSON's escapes."""
    units = text.encode("utf-16-le")
    assert joined([chr(int.from_bytes(units[n : n + 2], "little")) for n in range(0, len(units), 2)]) == text
    assert joined([text]) == text


@given(st.lists(st.text(st.sampled_from("a\ufeff\ud83d\ude00"), max_size=4)))
def test_whatever_comes_can_be_sent_on(pieces: list[str]) -> None:
    """A stray half would make an event that no topic takes."""
    joined(pieces).encode()
