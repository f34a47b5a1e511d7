"""A document whose newest version could not be processed: the older text is shown, and said to be older."""

from __future__ import annotations

import pytest

from tests.e2e.degradation.ground import QUESTIONS, STALE, Ground, Reading, question

pytestmark = [pytest.mark.timeout(60), pytest.mark.redis]


def test_newest_version_failed(small_ground: Ground, small_asked: Reading) -> None:
    """In the answer's `degraded` and at the citation; answers that rest on other documents say nothing of it."""
    event = small_asked.ask(question(STALE)).event
    assert event.citations[0].doc_id == STALE[0]
    assert event.citations[0].newest_version_failed
    assert (event.outcome, event.mode, event.degraded) == ("answered", "hybrid", ("newest_version_failed",))
    assert all(small_asked.ask(one).is_normal for one in QUESTIONS)
