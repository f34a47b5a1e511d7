"""The canary: a check, while it runs, that the view is never staler than it states.

A tiny document of its own, which nobody but the operator may read, is changed again and again; the same process watches when
its view shows each change, and what the view states meanwhile. Off by default.
"""

from query_api.canary.flights import Flight, Flights
from query_api.canary.judging import Point, judge
from query_api.canary.metrics import CanaryMetrics
from query_api.canary.watch import Canary

__all__ = ["Canary", "CanaryMetrics", "Flight", "Flights", "Point", "judge"]
