"""Stated lag against true lag at one moment. Pure.

The view states: everything published before T is reflected. `Published` is known for certain once the acknowledgement is here, so
a canary contradicts the view if its acknowledgement had come before T and it is not visible: nothing is called a violation that a
message still on its way to the log could explain. For comparison `since_sent_s` counts from before the sending, which is
earlier than the log can have had it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from query_api.canary.flights import Flight
from schemas.index import DocKey

ROUNDING_S: Final = 0.0005
"""Lags are stated in whole milliseconds."""


class Point(NamedTuple):
    """What one look found.

    Attributes:
        at_s: own monotonic clock, before the view was asked for its lag.
        stated_lag_s: what an answer made then would state; None: unknown.
        true_lag_s: age of the oldest acknowledged canary that is not visible; 0 where there is none.
        since_sent_s: the same counted from before the sending, those that are not acknowledged yet included.
        contradictions: canaries that the view states to be reflected, and that are not visible.
    """

    at_s: float
    stated_lag_s: float | None
    true_lag_s: float
    since_sent_s: float
    contradictions: tuple[Flight, ...] = ()


def judge(flights: Iterable[Flight], visible: Collection[DocKey], at_s: float, stated_lag_s: float | None) -> Point:
    """Compare what is visible with what is stated.

    Args:
        flights: those on their way, taken before `at_s`.
        visible: documents of those that a snapshot shows which was opened after the view had stated its lag.
        at_s: taken before the view stated its lag, so that the moment it means is not earlier than is assumed here.
    """
    waiting = [flight for flight in flights if flight.key not in visible]
    acknowledged = [flight for flight in waiting if flight.acknowledged_s is not None]
    reflected_until_s = None if stated_lag_s is None else at_s - stated_lag_s - ROUNDING_S
    return Point(
        at_s,
        stated_lag_s,
        true_lag_s=max((_age(at_s, flight.acknowledged_s) for flight in acknowledged), default=0.0),
        since_sent_s=max((_age(at_s, flight.sent_s) for flight in waiting), default=0.0),
        contradictions=tuple(
            flight
            for flight in acknowledged
            if reflected_until_s is not None and flight.acknowledged_s is not None and flight.acknowledged_s <= reflected_until_s
        ),
    )


def _age(now_s: float, then_s: float | None) -> float:
    return 0.0 if then_s is None else max(0.0, now_s - then_s)
