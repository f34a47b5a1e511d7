"""Markdown read aloud."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.answer.sentences import plain, sentences, split


@pytest.mark.parametrize(
    ("markdown", "read"),
    [
        ("# Refunds\n\nThey take two days. We pay at once.", ["They take two days.", "We pay at once."]),
        ("Refunds\n=======\nThey take\ntwo days.", ["They take two days."]),
        ("- **Fees.** None.\n2. [ ] Call us", ["Fees.", "None.", "Call us"]),
        ("> Quoted text.\n> Goes on.", ["Quoted text.", "Goes on."]),
        ("| Plan | Fee |\n|---|---|\n| Plus | £3 |", ["Plan, Fee", "Plus, £3"]),
        ("Before.\n```sh\nrm -rf /\n```\nAfter.", ["Before.", "After."]),
        ("See [the *rules*](https://x.org/a(b)) and `cp -r`.", ["See the rules) and cp -r."]),
        ("![logo](x.png) Text <b>bold</b>.", ["Text bold ."]),
        ("Keys are `key:<id>`, <i>not</i> `id`.", ["Keys are `key:<id>`, not id."]),
        ("[1]: https://x.org\nText.", ["Text."]),
        ("***\n---", []),
    ],
    ids=["heading", "underlined", "items", "quote", "table", "code", "link", "image-and-tags", "tag-in-code", "target", "rules"],
)
def test_markup_is_not_read(markdown: str, read: list[str]) -> None:
    """Headings, markers, targets and code are left out; the rest is whole sentences."""
    assert sentences(markdown) == read


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("It costs 3.50 a month. Pay now.", 2),
        ("Ask Dr. Smith, e.g. by mail. He answers.", 2),
        ("J. Smith wrote it.", 1),
        ("Milvus v2.3.1 is out. 2 bugs are fixed!", 2),
        ("He said “No.” Then he left.", 2),
        ("退款需要两天。我们会通知您。", 2),
        ("see example.com for more", 1),
    ],
)
def test_cut_where_a_person_would(text: str, parts: int) -> None:
    """Abbreviations, figures and addresses end no sentence."""
    assert len(split(text)) == parts


@given(st.text(max_size=300))
def test_takes_any_text(text: str) -> None:
    """Nothing raises; every sentence is one line with a letter or digit."""
    for sentence in sentences(text):
        assert any(char.isalnum() for char in sentence)
        assert "\n" not in sentence
    assert plain(text) == plain(text).strip()
