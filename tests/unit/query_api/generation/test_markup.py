"""Nothing in a model's text is fetched by whoever shows it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from query_api.generation.markup import NAME_MAX, MarkupFilter

fragments = st.sampled_from(
    [
        "<",
        ">",
        "!",
        "[",
        "](https://a.example/?q=",
        "/",
        " ",
        "\n",
        "img",
        "IMG src=//a.example",
        "script",
        "style",
        "a",
        "é",
        "&lt;",
    ]
)
pieces = st.lists(fragments | st.text("<>![]/ as\t\x00=é", max_size=NAME_MAX + 8), max_size=12)


def filtered(parts: list[str]) -> str:
    one = MarkupFilter()
    return "".join([*map(one.feed, parts), one.finish()])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See ![x](https://a.example/?q=secret)!", "See ! [x](https://a.example/?q=secret)!"),
        ('<img src="https://a.example/?q=secret">', '< img src="https://a.example/?q=secret">'),
        ("<IMG/src=//a.example>", "< IMG/src=//a.example>"),
        ("<iframe\nsrc=//a.example></iframe>", "< iframe\nsrc=//a.example></iframe>"),
        ("<p style='background:url(//a.example)'>", "< p style='background:url(//a.example)'>"),
        ("<Script>fetch('//a.example')</script>", "< Script>fetch('//a.example')</script>"),
        ("<style>@import '//a.example'", "< style>@import '//a.example'"),
        ("`<img src=//a.example>`", "`< img src=//a.example>`"),
        ("<a<img src=//a.example>", "< a< img src=//a.example>"),
        (f"<{'a' * NAME_MAX}>", f"<{'a' * NAME_MAX}>"),
        (f"<{'a' * NAME_MAX}a src=//a.example>", f"< {'a' * NAME_MAX}a src=//a.example>"),
        ("and at its end <img", "and at its end < img"),
    ],
)
def test_what_would_be_fetched_is_text(text: str, shown: str) -> None:
    """Pictures are links: nothing is loaded until somebody clicks. Tags that load are shown."""
    assert filtered([text]) == shown


@pytest.mark.parametrize(
    "text", ["Vec<u8>", "List<String>, Map<K,V>", "<dependency>1</dependency>", "a < b", "1<2!", "if a <= b", "<3", "<!-- -->"]
)
def test_what_fetches_nothing_stays(text: str) -> None:
    """Code, and what only looks like a tag."""
    assert filtered([text]) == text


class _Loading(HTMLParser):
    """Notes tags that could load something."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if attrs or tag in {"script", "style"}:
            self.found.append(tag)

    def parsed(self, text: str) -> list[str]:
        self.feed(text)
        self.close()
        return self.found


@given(pieces)
@example(["<im", "g", " src=//a.example>"])
@example(["<", "s", "cript", ">"])
@example(["!", "[x](//a.example)"])
@example(["<a![>"])
def test_how_it_is_cut_changes_nothing_and_nothing_that_loads_is_left(parts: list[str]) -> None:
    """The law of every filter here; and the text is the same but for gaps."""
    text = "".join(parts)
    shown = filtered(parts)
    assert shown == filtered([text]) == filtered(list(text))
    assert "![" not in shown
    assert _Loading().parsed(f"{shown} and what the page says after it>") == []
    assert _without_gaps(shown) == _without_gaps(text)


def _without_gaps(text: str) -> str:
    return text.replace("! [", "![").replace("< ", "<")
