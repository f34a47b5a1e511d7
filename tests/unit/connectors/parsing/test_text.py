"""Text is parsed in process: strict UTF-8, one kind of newline, no control characters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.parsing import FileParser, Parsed, ParseRejected
from connectors.parsing.text import clean, clean_title
from schemas.documents import MAX_TITLE_LENGTH
from schemas.settings import ParsingSettings


def parse(data: bytes, media_type: str = "text/markdown", **limits: int) -> Parsed:
    return FileParser(ParsingSettings(**limits)).parse(data, media_type, timeout_s=1)


def reason_for(data: bytes, media_type: str = "text/markdown", **limits: int) -> str:
    with pytest.raises(ParseRejected) as caught:
        parse(data, media_type, **limits)
    return caught.value.reason


@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain"])
def test_text_comes_out_as_it_is(media_type: str) -> None:
    """UTF-8 needs no conversion, and the media type is kept."""
    text = "# Gebühren\n\n\tEine Überweisung 🙂 kostet 1 €.\n"
    assert parse(text.encode(), media_type) == Parsed(text, None, media_type)  # type: ignore[arg-type]


def test_a_byte_order_mark_and_odd_newlines_are_made_uniform() -> None:
    """Windows, old Mac, form feed and Unicode's own newlines all become one."""
    assert parse("\ufeffa\r\nb\rc\x0cd\u2028e".encode()).text == "a\nb\nc\nd\ne"


def test_control_characters_are_dropped() -> None:
    """NUL and its kin never reach an index."""
    assert parse(b"a\x00b\x1b[0m\x7f\tc").text == "ab[0m\tc"


@given(st.text(st.characters(), max_size=200))
def test_cleaned_text_is_clean_and_stays_so(text: str) -> None:
    """Cleaning is idempotent and leaves text that any store takes."""
    cleaned = clean(text)
    assert clean(cleaned) == cleaned
    cleaned.encode()
    assert not any(char < " " and char not in "\n\t" for char in cleaned)


def test_empty_text_is_what_its_author_wrote() -> None:
    """An emptied page is an edit, not a broken file."""
    assert parse(b"").text == ""


def test_other_encodings_are_refused() -> None:
    """Nothing is guessed: the error names the byte."""
    with pytest.raises(ParseRejected, match=r"byte 3 of 8"):
        parse("Geb\xfchren".encode("latin-1"))
    assert reason_for("text".encode("utf-16")) == "not_utf8"


def test_unsupported_media_types_are_named() -> None:
    """The error says what is supported instead."""
    with pytest.raises(ParseRejected, match=r"image/png.*application/pdf"):
        parse(b"x", "image/png")
    assert reason_for(b"x", "application/zip") == "unsupported_media_type"


def test_parameters_of_a_media_type_are_ignored() -> None:
    """Case and a charset change nothing."""
    assert parse(b"x", "Text/Plain; charset=utf-8").media_type == "text/plain"


def test_too_much_input_is_refused() -> None:
    """Before anything is decoded."""
    assert reason_for(b"x" * (1024 * 1024 + 1), max_input_mib=1) == "too_large"


def test_too_much_text_is_refused() -> None:
    """The limit of the output counts for text too."""
    assert reason_for(b"x" * 11, max_output_chars=10) == "too_large"


def test_titles_are_one_line_of_bounded_length() -> None:
    """Whatever a file states as its title fits the contract."""
    assert clean_title("  A\n title\x00 ") == "A title"
    assert clean_title("x" * 10_000) == "x" * MAX_TITLE_LENGTH
    assert clean_title(" \n") is clean_title(None) is clean_title(["x"]) is None
