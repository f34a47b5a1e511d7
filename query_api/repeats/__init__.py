"""A query sent again gets the same answer again: Kafka redelivers, callers retry."""

from query_api.repeats.repeats import Repeated, Repeats

__all__ = ["Repeated", "Repeats"]
