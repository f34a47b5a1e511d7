"""When a remembered answer is used: every condition by itself, bounds, thumbs-down, and the bytes that workers share."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from connectors.redis import MemoryLog
from query_api.cache import CacheMetrics, Entry, SharedAnswers, scope_of
from tests.unit.query_api.cache.making import citing, draft, evidence, lookup, make_cache, vector


def test_the_same_question_on_the_same_evidence_is_a_hit() -> None:
    """In other spacing, too."""
    cache, asked = make_cache(), lookup()
    made = cache.remember(asked, draft(asked))
    verdict = cache.find(lookup("How do I  freeze my card? "), lambda _: True)
    assert verdict.code == "hit" and verdict.entry is not None
    assert verdict.entry.id == made and verdict.entry.text == "Tap Freeze. [1]"


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        pytest.param(lookup(scope="t" * 32), "no_entry", id="another scope"),
        pytest.param(lookup(at=vector(0, 1, 0)), "not_alike", id="another question"),
        pytest.param(lookup("How do I unfreeze my card?"), "wording", id="opposite"),
        pytest.param(lookup("How do I freeze my card?", "a", "b", "c"), "no_entry", id="a fresh prompt would add a passage"),
        pytest.param(lookup("How do I freeze my card?", "c"), "no_entry", id="other evidence"),
    ],
)
def test_a_condition_that_fails_is_a_miss(asked: object, code: str) -> None:
    """Each by itself."""
    cache, first = make_cache(), lookup()
    cache.remember(first, draft(first))
    verdict = cache.find(asked, lambda _: True)  # type: ignore[arg-type]
    assert (verdict.entry, verdict.code) == (None, code)


def test_fewer_passages_than_the_remembered_prompt_are_enough() -> None:
    """A fresh prompt would add nothing."""
    cache, first = make_cache(), lookup()
    cache.remember(first, draft(first))
    assert cache.find(lookup("How do I freeze my card?", "a"), lambda _: True).is_hit


def test_evidence_that_does_not_stand_is_told_to_operators_only() -> None:
    """To the caller it is as if nothing were remembered."""
    cache, first = make_cache(), lookup()
    cache.remember(first, draft(first))
    verdict = cache.find(first, lambda _: False)
    assert (verdict.code, verdict.withheld, verdict.similarity, verdict.nearest) == ("no_entry", "evidence_withdrawn", None, "")


def test_the_best_that_passes_is_taken() -> None:
    """A nearer one whose evidence fell is passed over."""
    cache = make_cache()
    near, far = lookup("How do I freeze my card?", "a", "b"), lookup("How can I freeze my card?", "a", at=vector(1, 0.3, 0))
    cache.remember(near, draft(near, "near [1]"))
    cache.remember(far, draft(far, "far [1]"))
    asked = lookup("How do I freeze my card?", "a")
    fallen = {one.key.doc_id for one in near.evidence if one.key.doc_id != "a"}
    verdict = cache.find(asked, lambda found: not any(one.key.doc_id in fallen for one in found))
    assert verdict.entry is not None and verdict.entry.text == "far [1]"


@pytest.mark.parametrize(
    "over",
    [{"degraded": ("model_retried",)}, {"is_cut": True}, {"text": ""}, {"citations": (citing(evidence("elsewhere")),)}],
    ids=lambda over: str(next(iter(over))),
)
def test_some_drafts_are_never_remembered(over: dict[str, Any]) -> None:
    """Degraded, cut, empty, or citing what was not in the prompt."""
    cache, asked = make_cache(), lookup()
    assert cache.remember(asked, draft(asked)._replace(**over)) is None
    assert len(cache) == 0


def test_the_least_recently_used_leaves_first() -> None:
    """Being used counts."""
    cache = make_cache(max_entries=2)
    asked = [lookup(f"How do I {verb} it?", verb) for verb in ("paint", "weld", "fold")]
    for one in asked[:2]:
        cache.remember(one, draft(one))
    assert cache.find(asked[0], lambda _: True).is_hit
    cache.remember(asked[2], draft(asked[2]))
    assert [cache.find(one, lambda _: True).is_hit for one in asked] == [True, False, True]


def test_an_answer_leaves_after_its_time() -> None:
    """By the clock of whoever made it."""
    now = [1_000_000]
    cache, asked = make_cache(ttl_s=10.0, now_ms=lambda: now[0]), lookup()
    cache.remember(asked, draft(asked))
    now[0] += 9_999
    assert cache.find(asked, lambda _: True).is_hit
    now[0] += 1
    assert not cache.find(asked, lambda _: True).is_hit


def test_a_thumbs_down_removes_the_answer_and_keeps_it_out() -> None:
    """For this question and evidence, in any scope, until the bar's time is over."""
    now = [1_000_000]
    cache, asked = make_cache(now_ms=lambda: now[0]), lookup()
    made = cache.remember(asked, draft(asked))
    assert made is not None
    cache.bar(made)
    assert not cache.find(asked, lambda _: True).is_hit
    assert cache.remember(asked, draft(asked)) is None
    other_scope = lookup(scope="t" * 32)
    assert cache.remember(other_scope, draft(other_scope)) is None
    now[0] += 600_000
    assert cache.remember(asked, draft(asked)) == made


def test_bytes_and_back() -> None:
    """An entry is the same after a store."""
    cache, asked = make_cache(), lookup()
    cache.remember(asked, draft(asked))
    entry = cache.find(asked, lambda _: True).entry
    assert entry is not None
    back = Entry.from_bytes(entry.to_bytes())
    assert back.to_bytes() == entry.to_bytes()
    assert back.evidence == entry.evidence and back.citations == entry.citations


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1, "id": "x"}', b"\x80\x04K\x01."])
def test_other_bytes_are_refused(raw: bytes) -> None:
    """With one kind of error, whatever they are."""
    with pytest.raises(ValueError, match=r"."):
        Entry.from_bytes(raw)


def test_workers_share_answers_and_bars() -> None:
    """One that joins sees what is there, what can't be decoded is counted, a bar reaches everyone."""
    entries, bars = MemoryLog(100, 60), MemoryLog(100, 600)
    one, other, metrics = make_cache(), make_cache(), CacheMetrics(CollectorRegistry())
    first = SharedAnswers(one, entries, bars, metrics)
    asked = lookup()
    made = one.remember(asked, draft(asked))
    entries.append(b"not an entry")
    first.turn()
    second = SharedAnswers(other, entries, bars, metrics)
    second.turn()
    assert other.find(asked, lambda _: True).is_hit
    assert metrics.shared.labels("undecodable")._value.get() >= 1
    assert made is not None
    other.bar(made)
    second.turn()
    first.turn()
    assert not one.find(asked, lambda _: True).is_hit and one.is_barred(asked)


def test_a_scope_tells_every_part_apart() -> None:
    """And doesn't depend on the order of filters or indexes."""
    base: dict[str, Any] = {
        "generation": "g", "indexes": ("a", "b"), "filters": {"x": 1, "y": {"in": ["p"]}}, "fingerprint": "f", "passages": 5,
        "max_tokens": None, "temperature": None,
    }  # fmt: skip
    changed: list[dict[str, Any]] = [
        {"generation": "h"}, {"indexes": ("a",)}, {"filters": {"x": 2}}, {"fingerprint": "g"}, {"passages": 4},
        {"max_tokens": 9}, {"temperature": 0.1},
    ]  # fmt: skip
    scopes = {scope_of(**(base | one)) for one in [{}, *changed]}
    assert len(scopes) == len(changed) + 1
    again = base | {"indexes": ("b", "a"), "filters": {"y": {"in": ["p"]}, "x": 1}}
    assert scope_of(**again) == scope_of(**base)


def test_vectors_of_another_length_keep_out_others_no_longer_than_they_live() -> None:
    """Another encoder's entries come through Redis; once they have gone, the first of one's own decides."""
    now = [1_000_000]
    cache = make_cache(now_ms=lambda: now[0], ttl_s=60.0)
    cache.remember(lookup(at=vector(1.0, 0.0, 0.0, 0.0)), draft(lookup()))
    assert cache.remember(lookup(), draft(lookup())) is None
    now[0] += 60_000
    assert cache.remember(lookup(), draft(lookup())) is not None
    assert cache.find(lookup(), lambda _: True).code == "hit"
    for one in range(200):
        cache.remember(lookup(f"Question number {one}?"), draft(lookup()))
    now[0] += 60_000
    cache.remember(lookup(at=vector(0.0, 1.0)), draft(lookup()))
    assert len(cache) == 1
