"""Two questions are the same only if their wording agrees: contrast pairs of our own, and true paraphrases."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.cache.reading import LONGEST
from query_api.cache.wording import conflict_between, facts_differ
from schemas.queries import MAX_QUESTION_LENGTH

HERE = Path(__file__).parent
LEAST_PARAPHRASES = 0.88
AT_MOST_S = 1.0
"""Processor time that no pair of questions may cost; the slowest takes 1 % of it."""


def lines(name: str) -> list[list[str]]:
    text = (HERE / name).read_text(encoding="utf-8").strip()
    return [[part.strip() for part in line.split(" | ")] for line in text.splitlines()]


def pairs(name: str) -> list[tuple[str, str]]:
    return [(a, b) for a, b in lines(name)]


CONTRASTS = pairs("contrasts.txt")
PARAPHRASES = pairs("paraphrases.txt")
NOT_SEEN = [(a, b, why) for a, b, why in lines("not_seen.txt")]
"""Contrasts that the rule lets through, each with the reason why it does."""


def test_there_are_enough_pairs() -> None:
    """Nine hundred that differ and three hundred that don't, none twice."""
    assert len(set(CONTRASTS)) == len(CONTRASTS) >= 900
    assert len(set(PARAPHRASES)) == len(PARAPHRASES) >= 300


@pytest.mark.parametrize("pair", CONTRASTS, ids=lambda pair: f"{pair[0]} / {pair[1]}")
def test_a_contrast_is_seen_both_ways(pair: tuple[str, str]) -> None:
    """However alike the vectors and the evidence are, such a pair never shares an answer."""
    a, b = pair
    assert conflict_between(a, b)
    assert conflict_between(b, a)


@pytest.mark.parametrize("pair", NOT_SEEN, ids=lambda pair: f"{pair[0]} / {pair[1]}")
def test_what_is_not_seen_is_listed(pair: tuple[str, str, str]) -> None:
    """Once it is seen, it belongs to the contrasts."""
    assert not conflict_between(pair[0], pair[1])


def test_most_paraphrases_agree() -> None:
    """The share that this rule lets through is at least what docs/answer-cache.md says."""
    agreeing = [pair for pair in PARAPHRASES if not conflict_between(*pair)]
    refused = [(*pair, conflict_between(*pair)) for pair in PARAPHRASES if conflict_between(*pair)]
    assert len(agreeing) / len(PARAPHRASES) >= LEAST_PARAPHRASES, refused


@given(st.text(max_size=80), st.text(max_size=80))
def test_it_is_symmetric_for_any_text(a: str, b: str) -> None:
    """Who asked first makes no difference, and no text is too odd."""
    assert bool(conflict_between(a, b)) == bool(conflict_between(b, a))


WORDS = sorted({word for pair in (*CONTRASTS, *PARAPHRASES) for text in pair for word in text.split()})


@given(st.lists(st.sampled_from(WORDS), max_size=14), st.lists(st.sampled_from(WORDS), max_size=14))
def test_it_is_symmetric_for_any_words_of_questions(a: list[str], b: list[str]) -> None:
    """Also where the words are such that the rules bite."""
    assert bool(conflict_between(" ".join(a), " ".join(b))) == bool(conflict_between(" ".join(b), " ".join(a)))


@given(st.text(max_size=80))
def test_a_question_agrees_with_itself(text: str) -> None:
    """And with itself in another spacing."""
    assert not conflict_between(text, text)
    assert not conflict_between(text, f" {text}  ")


@pytest.mark.parametrize(
    ("a", "b", "code"),
    [
        ("Is 10² too much?", "Is 102 too much?", "number"),
        ("Is 10² too much?", "Is 10³ too much?", "number"),
        ("Is 10² too much?", "Is 10 too much?", "number"),
        ("Is ½ a cup too much?", "Is ¼ a cup too much?", "number"),
        ("Is ½ a cup too much?", "Is 1/2 a cup too much?", ""),
        ("What does H₂O mean?", "What does H2O mean?", ""),
        ("ما الرسوم لمدة ٣ أشهر؟", "ما الرسوم لمدة 3 أشهر؟", ""),
        ("Is １２ enough?", "Is 12 enough?", ""),
        ("Is Ⅳ enough?", "Is Ⅵ enough?", "other_word"),
        ("What is 8 Mb/s?", "What is 8 MB/s?", "code"),
        ("Are the changes final?", "Are the charges final?", "other_word"),
        ("wo ist die kirche", "wo ist die kirsche", "other_word"),
        ("How do I cancel my subscription?", "How do I cancel my subscripton?", ""),
        ("Where is the police number?", "Where is the policy number?", "other_word"),
    ],
)
def test_what_is_written_alike(a: str, b: str, code: str) -> None:
    """Signs that are the same figure agree, signs that are not don't; a slip is what is no word where the other is one."""
    assert conflict_between(a, b) == code


HOSTILE = {
    "many words": (" ".join(f"w{n}x" for n in range(999)), " ".join(f"un{n}y" for n in range(999))),
    "one word more": ("a " * 2_000, "a " * 1_999 + "b"),
    "a sign that unfolds to eighteen": ("\ufdfa" * 4_000, "\ufdfa" * 3_999),
    "openings of phrases": ("turn " * 800, "how many days " * 300),
    "what and no price": ("what " * 800, "what is the " * 330),
    "prefixes": (
        " ".join(f"un{chr(97 + n % 26)}ab{n}" for n in range(500)),
        " ".join(f"{chr(97 + n % 26)}ab{n}" for n in range(600)),
    ),
    "figures": ("1" * 4_000, "1," * 2_000),
    "hyphens": ("a-" * 2_000, "-a" * 2_000),
    "apostrophes": ("can't " * 600, "can'" * 900),
    "no spaces": ("开" * 4_000, "关" * 4_000),
    "quotes": ('"' * 4_000, "`" * 4_000),
    "money": ("$ 1" * 1_300, "1$ " * 1_300),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("length", [LONGEST, MAX_QUESTION_LENGTH])
def test_no_question_costs_much(name: str, length: int) -> None:
    """Sixteen of these are compared at a lookup, so none may take long, however it is made."""
    a, b = (text[:length] for text in HOSTILE[name])
    before = time.process_time()
    conflict_between(a, b)
    conflict_between(a, b[::-1])
    facts_differ(a * 4, b * 4)
    assert time.process_time() - before < AT_MOST_S


def test_what_is_too_long_is_the_same_only_if_it_is() -> None:
    """Beyond the limit words are not compared: the text decides."""
    long = "Why was my card declined? " * 40
    assert conflict_between(long, long + "now") == "too_long"
    assert not conflict_between(long, long.replace(" ", "  "))


@pytest.mark.parametrize(
    ("a", "b", "differ"),
    [
        ("It takes 2 days. " * 200, "You wait for 2 days. " * 200, False),
        ("It works. " * 200 + "It costs $10.", "It works. " * 200 + "It costs 10 dollars.", False),
        ("It works. " * 200 + "It costs 10.", "It works. " * 200 + "It costs 11.", True),
        ("It works. " * 200, "It works. " * 199 + "It does not work. ", True),
    ],
)
def test_facts_of_answers_are_compared_at_any_length(a: str, b: str, differ: bool) -> None:
    """Figures with their units, and whether something is denied."""
    assert facts_differ(a, b) is differ
