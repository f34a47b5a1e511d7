"""Answers made of sentences that stand in the passages."""

import asyncio
import re

from hypothesis import given
from hypothesis import strategies as st

from query_api.answer import Asking, Draft, ExtractiveAnswerer
from query_api.answer.extractive import extract
from query_api.answer.sentences import sentences
from query_api.deadline import Deadline
from tests.unit.query_api.answer.passages import passage

PIN = passage("# Change your PIN\n\nYou can change your PIN at any cash machine. Cheques are gone.", title="Change your PIN")
FEES = passage("Withdrawals are free. Abroad they cost 2 %.", doc="fees", title="Fees", score=0.2)


def test_quotes_what_answers_the_question() -> None:
    """The sentence that holds the question's words, with its citation."""
    draft = extract("How do I change my PIN?", [PIN, FEES])
    assert draft.text.startswith("You can change your PIN at any cash machine.")
    assert draft.text.endswith("[1]")
    (citation,) = draft.citations
    assert (citation.number, citation.doc_id, citation.title, citation.text) == (1, "d1", "Change your PIN", PIN.text)


def test_numbers_follow_reading_order() -> None:
    """Markers count up in the text, whichever passages they stand for."""
    first = passage("The fee for cash abroad is two percent.", doc="a", score=0.9)
    second = passage("A cash fee abroad is never charged on Premier plans.", doc="b", score=1.0)
    draft = extract("cash fee abroad", [second, first])
    assert re.findall(r"\[(\d+)\]", draft.text) == [str(c.number) for c in draft.citations] == ["1", "2"]
    assert [c.doc_id for c in draft.citations] == ["b", "a"]


def test_the_same_said_twice_is_said_once() -> None:
    """Near-duplicate sentences of two documents are quoted once."""
    copy = passage("You can change your PIN at any cash machine.", doc="copy", score=0.9)
    assert extract("How do I change my PIN?", [PIN, copy]).text.count("cash machine") == 1


def test_passages_of_code_only_say_nothing() -> None:
    """No sentence, no draft."""
    assert extract("how to delete", [passage("```\nrm -rf\n```")]) == Draft("", ())


def test_answerer_is_the_pure_function() -> None:
    """The adapter adds nothing of its own; what it says piece by piece is the draft's text."""
    said: list[str] = []

    async def emit(piece: str) -> None:
        said.append(piece)

    answered = asyncio.run(ExtractiveAnswerer().answer(Asking("How do I change my PIN?", [PIN]), Deadline.after(1), emit))
    assert answered == extract("How do I change my PIN?", [PIN])
    assert "".join(said) == answered.text


@given(st.text(max_size=50), st.lists(st.text(max_size=200), min_size=1, max_size=4))
def test_rests_on_the_passages_alone(question: str, texts: list[str]) -> None:
    """Every citation is a passage, every marker has its citation, every sentence was in a passage."""
    passages = [passage(text, doc=str(n), score=1.0 / (n + 1)) for n, text in enumerate(texts)]
    draft = extract(question, passages)
    assert {c.text for c in draft.citations} <= set(texts)
    assert bool(draft.text) == bool(draft.citations)
    said = [sentence.rstrip(" :;,.…)") for text in texts for sentence in sentences(text)]
    bare = draft.text
    for sentence in sorted(said, key=len, reverse=True):
        bare = bare.replace(sentence, "")
    assert not re.search(r"[^\W\d]{3,}", bare)
