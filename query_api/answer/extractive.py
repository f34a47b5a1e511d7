"""The default answerer: the best sentences of the best passages, word for word, with citations. No model, deterministic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from query_api.answer.port import EXTRACTIVE, Asking, Draft, Emit, Passage
from query_api.answer.sentences import sentences
from query_api.answer.terms import Bearing, content_terms, coverage, rarity, terms
from query_api.deadline import Deadline

REVISION: Final = 1
"""Counts up when the same passages would give another answer."""
PASSAGES_READ: Final = 5
SENTENCES_MAX: Final = 3
LENGTH_MAX: Final = 600
"""Characters of a sentence that is quoted whole; longer ones are cut at a word."""

# What makes a sentence good, out of 1. Chosen for reading well on help-centre articles and abstracts, not tuned on a set.
COVERAGE_SHARE: Final = 0.62
PASSAGE_SHARE: Final = 0.30
POSITION_SHARE: Final = 0.08

WORTH_ADDING: Final = 0.75
"""A further sentence is added only if it is at least this good, relative to the best, and says something new."""
ON_TOPIC: Final = 0.5
"""From another passage it must also hold this share of what the best sentence holds of the question's words."""
LONGEST_BEGINNING: Final = 32
"""Letters that tell terms apart: here only the question's very own words count."""
SAME: Final = 0.75
"""Two sentences that share this much of the shorter one's words say the same."""


@dataclass(frozen=True, slots=True)
class _Sentence:
    passage: int
    position: int
    text: str
    covered: float
    score: float


class ExtractiveAnswerer:
    """Quotes one to three sentences, the best one first. Costs milliseconds of plain Python."""

    @property
    def fingerprint(self) -> str:
        return f"{EXTRACTIVE}/{REVISION}"

    def select(self, question: str, passages: Sequence[Passage]) -> list[Passage]:
        return list(passages[:PASSAGES_READ])

    async def answer(self, asking: Asking, deadline: Deadline, emit: Emit) -> Draft:
        draft = extract(asking.question, asking.passages)
        if draft.text:
            await emit(draft.text)
        return draft


def extract(question: str, passages: Sequence[Passage]) -> Draft:
    """The answer that `ExtractiveAnswerer` gives. Pure."""
    top = passages[:PASSAGES_READ]
    # A passage's title and heading place its sentences: "It takes two days" under "Refunds" is about refunds.
    asked = content_terms(question)
    bearing = Bearing(asked, LONGEST_BEGINNING)
    known = [bearing.of(f"{passage.title} {passage.text}") for passage in top]
    chosen = _choose(_scored(rarity(asked, known), bearing, top, known))
    if not chosen:
        return Draft("", ())
    best = chosen[0]
    # The best sentence answers and so comes first; what goes with it follows as it was written.
    chosen.sort(key=lambda s: (s is not best, s.passage != best.passage, s.passage, s.position))
    numbers = {index: n for n, index in enumerate(dict.fromkeys(sentence.passage for sentence in chosen), start=1)}
    return Draft(_compose(chosen, numbers), tuple(top[index].citation(number) for index, number in numbers.items()))


def _scored(
    weights: Mapping[str, float], bearing: Bearing, passages: Sequence[Passage], known: Sequence[frozenset[str]]
) -> list[_Sentence]:
    best = max((passage.score for passage in passages), default=0.0) or 1.0
    found = []
    for index, passage in enumerate(passages):
        rank = max(0.0, passage.score / best)
        for position, text in enumerate(sentences(passage.text)):
            # What the passage covers counts a little for each of its sentences: pronouns and headings carry the subject.
            covered = coverage(weights, bearing.of(text))
            on_subject = 0.75 * covered + 0.25 * coverage(weights, known[index])
            score = COVERAGE_SHARE * on_subject + PASSAGE_SHARE * rank + POSITION_SHARE / (1 + position)
            found.append(_Sentence(index, position, text, covered, score * _shape(text)))
    return found


def _shape(text: str) -> float:
    """Below 1 for what is no statement: fragments, questions, lead-ins to a list."""
    is_fragment = len(text.split()) < 4  # noqa: PLR2004  a subject, a verb and two more
    return 0.6 if is_fragment or text.endswith(("?", ":", "？", "：")) else 1.0


def _choose(found: list[_Sentence]) -> list[_Sentence]:
    chosen: list[_Sentence] = []
    for sentence in sorted(found, key=lambda s: (-s.score, s.passage, s.position)):
        if chosen and sentence.score < WORTH_ADDING * chosen[0].score:
            break
        if not chosen or _adds(sentence, chosen):
            chosen.append(sentence)
        if len(chosen) == SENTENCES_MAX:
            break
    return chosen


def _adds(sentence: _Sentence, chosen: Sequence[_Sentence]) -> bool:
    best = chosen[0]
    if sentence.passage != best.passage and sentence.covered < ON_TOPIC * best.covered:
        return False
    return not any(_same(sentence.text, other.text) for other in chosen)


def _same(one: str, other: str) -> bool:
    a, b = frozenset(terms(one)), frozenset(terms(other))
    return len(a & b) >= SAME * min(len(a), len(b))


def _compose(chosen: Sequence[_Sentence], numbers: Mapping[int, int]) -> str:
    parts: list[str] = []
    for this, following in zip(chosen, [*chosen[1:], None], strict=True):
        parts.append(_finished(this.text))
        if following is None or following.passage != this.passage:
            parts.append(f"[{numbers[this.passage]}]")
    return " ".join(parts)


def _finished(text: str) -> str:
    if len(text) > LENGTH_MAX:
        return text[:LENGTH_MAX].rsplit(" ", 1)[0] + " …"
    return text if text.endswith((".", "!", "?", "…", "。", "！", "？", '"', "”", ")")) else f"{text.rstrip(' :;,')}."
