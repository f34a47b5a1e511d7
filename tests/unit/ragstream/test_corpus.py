"""The demo corpus is large enough, well formed, and its history ends where its articles stand."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from ragstream.corpus import article, articles, changes, story
from ragstream.corpus.help_article import parse_article
from ragstream.corpus.history import Edit, Step, replay
from schemas.acl import permits, principals_of
from schemas.documents import DocumentChange, InlineText

END_OF_HISTORY = datetime(2026, 10, 31, tzinfo=UTC)
QUESTIONS = [story.PRICE, story.INTERNAL, story.LOUNGES]


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    return list(changes())


@pytest.fixture(scope="module")
def messages(history: list[dict[str, Any]]) -> list[DocumentChange]:
    return [DocumentChange.model_validate_json(json.dumps(change)) for change in history]


def test_every_change_keeps_the_contract(messages: list[DocumentChange]) -> None:
    """All changes validate and name the moment they happened."""
    assert all(message.event_time is not None for message in messages)
    assert {message.op for message in messages} == {"upsert", "delete", "access"}


def test_history_is_the_same_every_time(history: list[dict[str, Any]]) -> None:
    """Measurements on the corpus can be repeated."""
    assert list(changes()) == history


def test_history_is_a_year_in_order(history: list[dict[str, Any]]) -> None:
    """Oldest first, long enough to be interesting, within 2026."""
    moments = [change["event_time"] for change in history]
    assert moments == sorted(moments)
    assert 180 <= len(history) <= 300
    assert moments[0].startswith("2026-01") and moments[-1].startswith("2026-10")


def test_versions_rise_strictly_per_document(messages: list[DocumentChange]) -> None:
    """`event_time` is the version: no two changes of a document share one."""
    by_document = defaultdict(list)
    for message in messages:
        by_document[message.doc_id].append(message.event_time)
    for moments in by_document.values():
        assert all(earlier < later for earlier, later in itertools.pairwise(moments) if earlier and later)


def test_history_ends_with_the_articles(messages: list[DocumentChange]) -> None:
    """Folding the history gives the live articles: texts, titles and readers."""
    state: dict[str, DocumentChange] = {}
    readers: dict[str, tuple[str, ...]] = {}
    for message in messages:
        if message.op == "delete":
            del state[message.doc_id]
            continue
        readers[message.doc_id] = message.acl or ()
        if message.op == "upsert":
            state[message.doc_id] = message
    live = {name: it for name, it in state.items() if it.expires_at is None or it.expires_at > END_OF_HISTORY}
    assert {(name, it.title, it.content.text) for name, it in live.items() if isinstance(it.content, InlineText)} == {
        (it.doc_id, it.title, it.text) for it in articles().values()
    }
    assert {name: readers[name] for name in live} == {it.doc_id: it.acl for it in articles().values()}


def test_there_are_enough_articles() -> None:
    """At least 80 public ones, and some for staff only."""
    audiences = Counter(it.audience for it in articles().values())
    assert audiences["public"] >= 80
    assert audiences["internal"] >= 15


def test_only_public_articles_are_open_to_all() -> None:
    """What is marked internal is readable by groups alone."""
    assert all((it.audience == "public") == (it.acl == ("*",)) for it in articles().values())


def test_articles_are_short_and_structured() -> None:
    """100 to 260 words, a title and at least two sections each."""
    for it in articles().values():
        assert it.text.startswith("# "), it.doc_id
        assert 100 <= len(it.text.split()) <= 260, it.doc_id
        assert 1 <= it.text.count("\n## ") <= 7, it.doc_id


def test_titles_are_unique() -> None:
    """A citation's title names one article."""
    titles = Counter(it.title for it in articles().values())
    assert titles.most_common(1)[0][1] == 1


def test_history_holds_what_is_hard(history: list[dict[str, Any]]) -> None:
    """A return to an earlier text, an unchanged republication, renames, expiries and a repeated paragraph."""
    texts = defaultdict(list)
    for change in history:
        if change["op"] == "upsert":
            texts[change["doc_id"]].append(change["content"]["text"])
    assert any(a == c != b for seen in texts.values() for a, b, c in zip(seen, seen[1:], seen[2:], strict=False))
    assert any(a == b for seen in texts.values() for a, b in itertools.pairwise(seen))
    assert sum(change["op"] == "delete" for change in history) >= 6
    assert sum("expires_at" in change for change in history) >= 3
    paragraphs = Counter(part for it in articles().values() for part in set(it.text.strip().split("\n\n")) if len(part) > 120)
    assert paragraphs.most_common(1)[0][1] >= 2


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.doc_id)
def test_a_story_fact_is_in_one_article_only(question: story.Question) -> None:
    """No other article could supply the answer."""
    assert [it.doc_id for it in articles().values() if question.fact in it.text] == [question.doc_id]


def test_the_amendment_swaps_the_facts() -> None:
    """The edited article holds the new fact and not the old one; before, nothing held the new one."""
    change = story.NEW_PRICE
    edited = change.edit.apply(article(change.doc_id).text)
    assert change.new_fact in edited and change.old_fact not in edited
    assert not any(change.new_fact in it.text for it in articles().values())


def test_the_callers_differ_until_the_revocation() -> None:
    """The agent may read the internal article, the customer may not, and afterwards neither may."""
    customer, agent = principals_of(story.CUSTOMER.principals), principals_of(story.AGENT.principals)
    change = story.TEAM_LEADS_ONLY
    assert article(change.doc_id).acl == change.before
    assert permits(change.before, agent) and not permits(change.before, customer)
    assert not permits(change.after, agent) and not permits(change.after, customer)


def test_an_edit_that_fits_nowhere_is_named() -> None:
    """A mistake in history.jsonl is reported with its step."""
    final = {"a/b": parse_article("a/b", '---\ncategory: a\naudience: public\nacl: ["*"]\n---\n# A\n')}
    step = Step(datetime(2026, 1, 1, tzinfo=UTC), "edit", "a/b", edits=(Edit("x", "missing"),))
    with pytest.raises(ValueError, match=r"edit of a/b at 2026-01-01 00:00: 'missing' must occur exactly once"):
        replay([step], final)


def test_an_article_that_was_never_published_is_named() -> None:
    """A file without a first version in the history would silently be missing from the demo."""
    final = {"a/b": parse_article("a/b", '---\ncategory: a\naudience: public\nacl: ["*"]\n---\n# A\n')}
    with pytest.raises(ValueError, match="never publishes a/b"):
        replay([], final)


def test_a_file_without_a_head_is_named() -> None:
    """The error names the article and the form."""
    with pytest.raises(ValueError, match="a/b: the file must open with"):
        parse_article("a/b", "# A\n")
