"""Chunks made into passages: laws over any candidates, and what counts as saying the same."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.answer import Passage
from query_api.joining import Wording, about_tokens, readable
from schemas.index import DocKey

WORDS: Final = ["card", "pin", "fee", "not", "2.3", "2.4", "daily", "limit", "branch", "app"]

texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(" ".join), min_size=1, max_size=7)


def chunks_of(doc_id: str, lines: list[str]) -> tuple[str, list[Passage]]:
    """A document whose chunks are its lines."""
    text = "\n\n".join(lines)
    chunks, start = [], 0
    for number, line in enumerate(lines):
        end = start + len(line)
        row = f"{doc_id}-{number}"
        chunks.append(Passage(DocKey("docs", doc_id), row, doc_id, None, 1, number, start, end, line, 0.0))
        start = end + 2
    return text, chunks


@st.composite
def candidates(draw: st.DrawFn) -> tuple[dict[DocKey, str], list[Passage]]:
    documents, found = {}, []
    for number in range(draw(st.integers(1, 3))):
        text, chunks = chunks_of(f"d{number}", draw(texts))
        documents[DocKey("docs", f"d{number}")] = text
        found += [chunk for chunk in chunks if draw(st.booleans())]
    order = draw(st.permutations(found))
    scores = sorted(draw(st.lists(st.floats(0, 1), min_size=len(order), max_size=len(order))), reverse=True)
    arms = st.one_of(st.none(), st.floats(0, 1))
    scored = [
        Passage(c.doc_key, c.row_id, c.title, None, 1, c.chunk, c.start, c.end, c.text, score, draw(arms), draw(arms))
        for c, score in zip(order, scores, strict=True)
    ]
    return documents, scored


@settings(max_examples=300)
@given(candidates(), st.integers(1, 30))
def test_passages_of_any_candidates(given_: tuple[dict[DocKey, str], list[Passage]], max_tokens: int) -> None:
    """Each chunk once, or said by another of its document; spans and texts of the manifest; ranked by the best chunk."""
    documents, chunks = given_
    passages = readable(chunks, documents.__getitem__, max_tokens)
    by_row = {chunk.row_id: chunk for chunk in chunks}
    rows = [row for passage in passages for row in passage.row_ids]
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(by_row)
    for row in set(by_row) - set(rows):
        others = [by_row[kept].text.split() for kept in rows if by_row[kept].doc_key == by_row[row].doc_key]
        assert any(set(by_row[row].text.split()) <= set(words) for words in others)
    assert [passage.score for passage in passages] == sorted((passage.score for passage in passages), reverse=True)
    places = [chunks.index(by_row[passage.row_id]) for passage in passages]
    assert places == sorted(places)
    for passage in passages:
        parts = [by_row[row] for row in passage.row_ids]
        assert {part.doc_key for part in parts} == {passage.doc_key}
        assert [part.chunk for part in parts] == list(range(passage.chunk, passage.chunk + len(parts)))
        assert (passage.start, passage.end) == (parts[0].start, parts[-1].end)
        assert passage.text == documents[passage.doc_key][passage.start : passage.end]
        assert passage.score == by_row[passage.row_id].score == max(part.score for part in parts)
        assert len(parts) == 1 or about_tokens(passage.text) <= max_tokens
        for mine, theirs in (("vector_score", "vector_score"), ("keyword_score", "keyword_score")):
            known = [score for part in parts if (score := getattr(part, theirs)) is not None]
            assert getattr(passage, mine) == (max(known) if known else None)
    firsts = list(dict.fromkeys(chunk.doc_key for chunk in chunks))
    assert list(dict.fromkeys(passage.doc_key for passage in passages)) == firsts


@pytest.mark.parametrize(
    ("weaker", "better", "is_same"),
    [
        ("the daily limit is 500", "the daily limit is 500", True),
        ("the daily limit is 500", "today the daily limit is 500 euros", True),
        ("the daily limit is 500", "the daily limit is 600", False),
        ("do not enable the card", "do enable the card", False),
        ("enable the card", "disable the card", False),
        ("pay before you travel to the branch", "travel to the branch before you pay", False),
        ("", "anything", True),
    ],
    ids=["equal", "contained", "number", "negation", "opposite", "order", "empty"],
)
def test_what_says_the_same(weaker: str, better: str, is_same: bool) -> None:
    """Repetitions are folded; a number, a negation, an opposite or another order is something else."""
    assert Wording(weaker).says_the_same(Wording(better)) is is_same


def test_a_weak_neighbour_is_left_out() -> None:
    """Found by chance, far behind: it would be there with one wording and not with the next."""
    text, (first, second, third) = chunks_of("d", ["card pin", "fee limit", "branch app"])
    found = [
        Passage(c.doc_key, c.row_id, c.title, None, 1, c.chunk, c.start, c.end, c.text, score)
        for c, score in ((second, 0.9), (first, 0.6), (third, 0.1))
    ]
    joined, weak = readable(found, lambda _: text, 100)
    assert (joined.row_ids, joined.text) == (("d-0", "d-1"), "card pin\n\nfee limit")
    assert weak.row_ids == ("d-2",)
