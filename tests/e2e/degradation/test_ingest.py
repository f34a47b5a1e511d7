"""Ingest away: answers go on, and their stated lag grows until it is back. And no time at all: said in time."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from schemas.documents import DocumentChange, InlineText
from tests.e2e.degradation.ground import NORMAL_WITHIN_S, QUESTIONS, Crowd, Ground, Reading

pytestmark = [pytest.mark.timeout(60), pytest.mark.redis]

OLD_S = 2.0


def test_ingest_away(small_ground: Ground, small_asked: Reading) -> None:
    """From the first change on that nobody takes up, the lag is the age of that; nothing else is missing."""
    text = InlineText(text="# Ferry\n\nThe ferry leaves at nine.\n")
    with Crowd(small_asked) as crowd:
        crowd.wait_for(lambda heard: heard.lag_s < OLD_S / 2, 10, "a fresh answer")
        at = datetime.now(UTC)
        small_ground.stack.publish([DocumentChange(op="upsert", doc_id="ferry", content=text, event_time=at, acl=["*"])])
        older = crowd.wait_for(lambda heard: heard.lag_s > OLD_S, OLD_S + 3, "an older answer")
        assert older.is_normal
        with small_ground.stack.ingesting():
            crowd.wait_for(lambda heard: heard.lag_s < OLD_S / 2, NORMAL_WITHIN_S, "a fresh answer")
    assert small_asked.ask("When does the ferry leave?").event.citations[0].doc_id == "ferry"


def test_no_time(small_asked: Reading) -> None:
    """A deadline that can't be kept is answered as such, with what every answer states."""
    heard = small_asked.ask(QUESTIONS[5], deadline_s=0.001)
    assert (heard.status, heard.event.outcome, heard.event.reason) == (504, "expired", "deadline_passed")
    assert heard.event.as_of is not None
    assert heard.event.as_of.lag_ms is not None
    assert heard.event.mode == "static"
