"""One canary a document, in turn; full is full."""

from __future__ import annotations

import pytest

from query_api.canary import Flight, Flights
from schemas.index import DocKey, SourcePosition

A, B = DocKey("docs", "a"), DocKey("docs", "b")


def test_documents_take_turns_and_a_busy_one_is_not_used_again() -> None:
    """The one that has rested longest is next; none while all are on their way."""
    flights = Flights([A, B])
    assert flights.next_key() == A
    flights.sending(Flight(A, 1, "w", 1.0))
    assert flights.next_key() == B
    flights.sending(Flight(B, 1, "w", 2.0))
    assert flights.next_key() is None
    flights.ended(B)
    flights.ended(A)
    assert flights.next_key() == B


def test_a_document_has_one_flight_at_most() -> None:
    """A later one would hide whether an earlier one became visible."""
    flights = Flights([A])
    flights.sending(Flight(A, 1, "w", 1.0))
    with pytest.raises(ValueError, match="not in deque"):
        flights.sending(Flight(A, 2, "w", 1.0))


def test_an_acknowledgement_is_noted() -> None:
    """With where it lies and when that was known."""
    flights = Flights([A])
    flights.sending(Flight(A, 1, "w", 1.0))
    flights.acknowledged(A, SourcePosition(2, 7), 1.5)
    assert flights.flying() == (Flight(A, 1, "w", 1.0, 1.5, SourcePosition(2, 7)),)
