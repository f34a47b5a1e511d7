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


def shadows_of(metrics: CacheMetrics) -> Shadows:
    """Every hit is checked."""
    return Shadows(1.0, ThresholdGuard(0.5, 0.02), metrics, lambda _: vector(), lambda: 0.0)


def test_closing_gives_up_what_runs_and_begins_nothing_more() -> None:
    """From another thread, while the loop runs and after it has ended."""

    async def scene() -> None:
        shadows, hit = shadows_of(CacheMetrics(CollectorRegistry())), Verdict(remembered("Tap Freeze. [1]"), "hit", 0.9, 0.5)
        cancelled = asyncio.Event()

        async def endless() -> Draft:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise
            raise AssertionError

        assert shadows.consider(hit, endless)
        await asyncio.sleep(0)
        await asyncio.to_thread(shadows.close)
        await asyncio.wait_for(cancelled.wait(), 5)
        assert not shadows.consider(hit, endless)
        closing.append(shadows)

    closing: list[Shadows] = []
    asyncio.run(scene())
    closing[0].close()


def test_a_check_whose_loop_has_ended_holds_up_no_other() -> None:
    """A worker that starts again in this process has a loop of its own."""
    metrics = CacheMetrics(CollectorRegistry())
    shadows, hit = shadows_of(metrics), Verdict(remembered("Tap Freeze. [1]"), "hit", 0.9, 0.5)

    async def endless() -> Draft:
        await asyncio.Event().wait()
        raise AssertionError

    async def same() -> Draft:
        return draft(lookup(), "Tap Freeze. [1]")

    async def begun() -> None:
        assert shadows.consider(hit, endless)

    async def checked() -> None:
        assert shadows.consider(hit, same)
        await shadows.finished()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(begun())
    (task,) = shadows._running
    loop.close()
    asyncio.run(checked())
    shadows.close()
    assert metrics.shadows.labels("agrees")._value.get() == 1
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # that it was left is what is tried here
