"""Shadow checks: which hits are checked, what counts as the same answer, and that the threshold hears of it."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from query_api.answer import Draft, GenerationFailed
from query_api.cache import CacheMetrics, Entry, Shadows, ThresholdGuard, Verdict, agrees
from schemas.queries import Usage
from tests.unit.query_api.cache.making import citing, draft, evidence, lookup, make_cache, vector

MODEL = Usage(model="a-model")


def remembered(text: str, usage: Usage | None = None) -> Entry:
    cache, asked = make_cache(), lookup()
    made = draft(asked, text)
    cache.remember(asked, made if usage is None else made._replace(usage=usage))
    entry = cache.find(asked, lambda _: True).entry
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    ("old", "new", "usage", "similarity", "same"),
    [
        ("Tap Freeze. [1]", "Tap  Freeze.", None, 0.0, True),
        ("Tap Freeze. [1]", "Tap Freeze. Then wait. [1]", None, 0.0, True),
        ("Tap Freeze. [1]", "Call us. [1]", None, 0.99, False),
        ("It takes 2 days. [1]", "You wait for 2 days. [1]", MODEL, 0.9, True),
        ("It takes 2 days. [1]", "It takes 3 days. [1]", MODEL, 0.99, False),
        ("It works. [1]", "It does not work. [1]", MODEL, 0.95, False),
        ("It works. [1]", "Bananas are yellow. [1]", MODEL, 0.1, False),
        ("It works. [1]", "", MODEL, 0.9, False),
    ],
)
def test_what_agrees(old: str, new: str, usage: Usage | None, similarity: float, same: bool) -> None:
    """Quotes must be the same quotes; a model's words may differ, its numbers and negations not."""
    fresh = Draft(new, (citing(lookup().evidence[0]),), usage or Usage(model="extractive"))
    assert agrees(remembered(old, usage), fresh, similarity) is same


def test_quotes_of_another_passage_differ() -> None:
    """Also where one text holds the other."""
    fresh = Draft("Tap Freeze. Wait. [1]", (citing(evidence("elsewhere")),))
    assert not agrees(remembered("Tap Freeze. [1]"), fresh, 1.0)


def test_a_share_of_hits_is_checked_and_the_guard_is_told() -> None:
    """The draw decides; failures are counted and tell nothing."""

    async def scene() -> None:
        metrics, guard = CacheMetrics(CollectorRegistry()), ThresholdGuard(0.5, 0.02)
        draws = iter((0.04, 0.06, 0.0))
        shadows = Shadows(0.05, guard, metrics, lambda _: vector(), lambda: next(draws))
        hit = Verdict(remembered("Tap Freeze. [1]"), "hit", 0.9, 0.5)

        async def differs() -> Draft:
            return draft(lookup(), "Call us. [1]")

        async def fails() -> Draft:
            raise GenerationFailed("model_timeout", "late")

        assert shadows.consider(hit, differs)
        await shadows.finished()
        assert not shadows.consider(hit, differs)
        assert shadows.consider(hit, fails)
        await shadows.finished()
        assert not shadows.consider(Verdict(None, "no_entry"), differs)
        assert metrics.shadows.labels("differs")._value.get() == 1
        assert metrics.shadows.labels("failed")._value.get() == 1
        assert guard.threshold > 0.5

    asyncio.run(scene())
