"""Laws over random histories of edits, deletes, expiries, access changes and questions by callers with different rights.

A remembered answer is given only if every passage of its prompt is current and readable by this caller, and a fresh prompt would
add nothing. The oracle folds the history anew and shares no code with the cache, the view, or `stands`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.cache import AnswerCache, Evidence, Lookup, answers, stands
from query_api.cache.evidence import shown_digest
from schemas.index import DocKey
from tests.unit.query_api.cache.making import draft, vector

DOCS = tuple(f"d{n}" for n in range(5))
CALLERS = (
    frozenset({"*"}),
    frozenset({"*", "group:hr"}),
    frozenset({"*", "user:maya"}),
    frozenset({"*", "user:maya", "group:hr"}),
)
LISTS = ((), ("*",), ("group:hr",), ("user:maya",))
QUESTIONS = (
    "How do I freeze my card?",
    "How can I freeze my card?",
    "How do I unfreeze my card?",
    "What is new in 2.3?",
    "What is new in 2.4?",
)
SAME = ({0, 1}, {2}, {3}, {4})
"""Which questions may share an answer."""
FAST, SLOW = 3_000, 120_000


class Happened(NamedTuple):
    """One event of the history."""

    kind: str
    doc: str
    version: int
    text: str = ""
    title: str = ""
    allow: tuple[str, ...] = ()
    until: int = 0


@dataclass
class Shown:
    """What the view holds of a document; stands in for `ViewDocument`."""

    key: DocKey
    entry: Any
    rows: dict[str, int]
    allow: tuple[str, ...]
    until: int


@dataclass
class Entry:
    text: str
    title: str


@dataclass
class View:
    """A small view with the snapshot's interface, kept up event by event: two chunks a document, row ids never used again."""

    documents: dict[DocKey, Shown] = field(default_factory=dict)

    def apply(self, event: Happened) -> None:
        key = DocKey("docs", event.doc)
        known = self.documents.get(key)
        if event.kind == "delete":
            self.documents.pop(key, None)
        elif event.kind == "upsert":
            rows = {f"{event.doc}-{event.version}-{half}": half for half in range(2)}
            if known is not None and known.entry.text == event.text:
                rows = known.rows
            self.documents[key] = Shown(key, Entry(event.text, event.title), rows, event.allow, 1 << 60)
        elif known is not None and event.kind == "access":
            known.allow = event.allow
        elif known is not None:
            known.until = event.until

    def document(self, key: DocKey) -> Shown | None:
        return self.documents.get(key)

    def is_readable(self, document: Shown, principals: frozenset[str], now: int) -> bool:
        return bool(principals & set(document.allow)) and document.until > now

    def evidence(self, doc: str, half: int) -> Evidence | None:
        shown = self.documents.get(DocKey("docs", doc))
        if shown is None:
            return None
        row = next(row for row, place in shown.rows.items() if place == half)
        middle = len(shown.entry.text) // 2
        start, end = (0, middle) if half == 0 else (middle, len(shown.entry.text))
        return Evidence(shown.key, (row,), start, end, shown_digest(shown.entry.title or doc, shown.entry.text[start:end]))


class Passage(NamedTuple):
    """The oracle's word for a passage: what a reader would see of it."""

    doc: str
    half: int
    title: str
    text: str


def fold(history: Sequence[Happened], principals: frozenset[str], now: int) -> set[Passage]:
    """Everything that this caller may be shown now, from the whole history."""
    found: set[Passage] = set()
    for doc in DOCS:
        text, title, until = "", "", 0
        allow: tuple[str, ...] = ()
        for event in history:
            if event.doc != doc:
                continue
            if event.kind == "upsert":
                text, title, allow, until = event.text, event.title, event.allow, 1 << 60
            elif event.kind == "delete":
                text = ""
            elif event.kind == "access" and text:
                allow = event.allow
            elif event.kind == "expiry" and text:
                until = event.until
        if text and until > now and set(allow) & principals:
            middle = len(text) // 2
            found |= {Passage(doc, 0, title, text[:middle]), Passage(doc, 1, title, text[middle:])}
    return found


class Life:
    """A random history with questions in it; `hold` is what the pipeline would call `stands`."""

    def __init__(self, seed: int, hold: Callable[..., bool] = stands) -> None:
        self.random = random.Random(seed)
        self.hold = hold
        self.view = View()
        self.history: list[Happened] = []
        self.now = 0
        self.cache = AnswerCache(max_entries=40, ttl_s=5.0, barred_ttl_s=1.0, threshold=lambda: 0.5, now_ms=lambda: self.now)
        self.made: dict[str, tuple[int, frozenset[Passage]]] = {}
        self.hits = 0

    def step(self) -> str:
        """One operation; what is wrong with the answer that was given, if one was."""
        self.now += self.random.randrange(3)
        if self.random.random() < 0.75:
            return self.ask()
        self.change()
        return ""

    def change(self) -> None:
        kind = self.random.choice(("upsert", "upsert", "upsert", "access", "access", "delete", "expiry"))
        doc, allow = self.random.choice(DOCS), self.random.choice(LISTS)
        text, title = self.random.choice(("one two", "three four", "five six")), self.random.choice(("A", "B"))
        event = Happened(kind, doc, len(self.history), text, title, allow, self.now + self.random.randrange(20))
        self.view.apply(event)
        # Only the newest content and what came after it tells: a long history is folded from there.
        self.history = [old for old in self.history if old.doc != doc or kind not in {"upsert", "delete"}] + [event]

    def ask(self) -> str:
        principals = self.random.choice(CALLERS)
        number = self.random.randrange(len(QUESTIONS))
        readable = fold(self.history, principals, self.now)
        wanted = [(doc, half) for doc in DOCS for half in range(2) if any((p.doc, p.half) == (doc, half) for p in readable)]
        prompt = self.random.sample(wanted, min(len(wanted), self.random.randrange(1, 4)))
        evidence = tuple(one for doc, half in prompt if (one := self.view.evidence(doc, half)) is not None)
        lookup = Lookup(QUESTIONS[number], vector(1, 0.05 * number, 0), "scope", evidence)
        fresh = frozenset(p for p in readable if (p.doc, p.half) in prompt)
        verdict = self.cache.find(lookup, lambda found: self.hold(self.view, principals, self.now, found))
        if verdict.entry is not None:
            self.hits += 1
            return self.wrong(verdict.entry.text, number, fresh, readable)
        if evidence:
            name = f"answer {len(self.made)} [1]"
            if self.cache.remember(lookup, draft(lookup, name)) is not None:
                self.made[name] = (number, fresh)
        return ""

    def wrong(self, text: str, number: int, fresh: frozenset[Passage], readable: set[Passage]) -> str:
        asked, prompt = self.made[text]
        if not prompt <= readable:
            return "a passage of its prompt is not current or not readable by this caller"
        if not fresh <= prompt:
            return "a fresh prompt would add a passage"
        if not any({asked, number} <= group for group in SAME):
            return "the answer to another question"
        return ""


def violations(seed: int, operations: int, hold: Callable[..., bool] = stands) -> tuple[list[str], int]:
    life = Life(seed, hold)
    return [wrong for _ in range(operations) if (wrong := life.step())], life.hits


def is_caught(seed: int, hold: Callable[..., bool] = stands) -> bool:
    life = Life(seed, hold)
    return any(life.step() for _ in range(FAST))


@given(st.integers(0, 1 << 32))
def test_a_remembered_answer_keeps_the_law(seed: int) -> None:
    """On histories of any kind."""
    assert violations(seed, 60)[0] == []


def test_a_longer_history_keeps_the_law_and_has_hits() -> None:
    """A law that is never put to the test would prove nothing."""
    wrong, hits = violations(1, FAST)
    assert wrong == []
    assert hits > FAST / 50


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_hundred_thousand_operations_keep_the_law() -> None:
    """None violated."""
    wrong, hits = violations(2, SLOW)
    assert wrong == []
    assert hits > SLOW / 50


def _never_readable_checked(view: View, principals: frozenset[str], now: int, found: Sequence[Evidence]) -> bool:
    return stands(view, frozenset({"*", "user:maya", "group:hr"}), now, found)  # type: ignore[arg-type]


def _never_expired(view: View, principals: frozenset[str], now: int, found: Sequence[Evidence]) -> bool:
    return stands(view, principals, 0, found)  # type: ignore[arg-type]


def _only_the_cited(view: View, principals: frozenset[str], now: int, found: Sequence[Evidence]) -> bool:
    return stands(view, principals, now, found[:1])  # type: ignore[arg-type]


def _rows_not_checked(view: View, principals: frozenset[str], now: int, found: Sequence[Evidence]) -> bool:
    documents = [view.document(one.key) for one in found]
    return all(one is not None and view.is_readable(one, principals, now) for one in documents)


def _always(*_: object) -> bool:
    return True


@pytest.mark.parametrize(
    "mutant",
    [_never_readable_checked, _never_expired, _only_the_cited, _rows_not_checked, _always],
    ids=lambda mutant: mutant.__name__.strip("_"),
)
def test_the_law_catches_checks_that_are_left_out(mutant: Callable[..., bool]) -> None:
    """Each condition on the evidence, dropped by itself."""
    assert is_caught(3, mutant)


@pytest.mark.parametrize("left_out", ["wording", "evidence of now"])
def test_the_law_catches_a_rule_that_is_left_out(left_out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wording ignored; or what a fresh prompt would hold looked at by its first passage only."""
    if left_out == "wording":
        monkeypatch.setattr(answers, "conflict_between", lambda _a, _b: "")
    else:
        monkeypatch.setattr(AnswerCache, "_near", _near_by_first_row)
    assert is_caught(4)


_near = AnswerCache._near


def _near_by_first_row(cache: AnswerCache, lookup: Lookup) -> object:
    return _near(cache, lookup._replace(evidence=lookup.evidence[:1]))
