"""Filters by a document's metadata: equality, one of several values, ranges. All of a request's filters must hold. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from schemas.documents import MAX_METADATA_LIST, MetadataInt, MetadataKey, MetadataNumber, MetadataString
from schemas.wire import Strict, at_most

MAX_FILTERS: Final = 16
MAX_VALUES: Final = MAX_METADATA_LIST

Scalar = Annotated[bool, Field(strict=True)] | MetadataInt | MetadataNumber | MetadataString
"""Compared with its type: 1 is not true, and "1" is not 1; 1 and 1.0 are the same number."""
Ordered = MetadataInt | MetadataNumber | MetadataString
"""Numbers are ordered by size, text by code points: ISO dates come in order. Never one against the other."""


class OneOf(Strict):
    """The value is one of these."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    values: Annotated[tuple[Scalar, ...], Field(min_length=1, max_length=MAX_VALUES, alias="in"), at_most(MAX_VALUES)]


class Range(Strict):
    """The value lies between these, of which at least one is given; all of one type."""

    gte: Ordered | None = None
    gt: Ordered | None = None
    lte: Ordered | None = None
    lt: Ordered | None = None

    @model_validator(mode="after")
    def _is_one_range(self) -> Self:
        bounds = [bound for bound in (self.gte, self.gt, self.lte, self.lt) if bound is not None]
        if not bounds or (self.gte is not None and self.gt is not None) or (self.lte is not None and self.lt is not None):
            msg = "give one of gte and gt, one of lte and lt, or both"
            raise ValueError(msg)
        if len({isinstance(bound, str) for bound in bounds}) > 1:
            msg = "both bounds must be numbers or both text"
            raise ValueError(msg)
        return self

    def holds(self, value: object) -> bool:
        bounds = (self.gte, self.gt, self.lte, self.lt)
        is_text = any(isinstance(bound, str) for bound in bounds)
        if isinstance(value, bool) or isinstance(value, str) != is_text or not isinstance(value, str | int | float):
            return False
        found: Any = value
        return (
            (self.gte is None or found >= self.gte)
            and (self.gt is None or found > self.gt)
            and (self.lte is None or found <= self.lte)
            and (self.lt is None or found < self.lt)
        )


Filter = OneOf | Range | Scalar
Filters = Annotated[dict[MetadataKey, Filter], Field(max_length=MAX_FILTERS), at_most(MAX_FILTERS)]


def matches(filters: Mapping[str, Filter], metadata: Mapping[str, object]) -> bool:
    """Whether every filter holds. A list in the metadata fits where one of its values does; what is not there fits nothing."""
    return all(name in metadata and _fits(wanted, metadata[name]) for name, wanted in filters.items())


def _fits(wanted: Filter, value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_fits(wanted, item) for item in value)
    if isinstance(wanted, Range):
        return wanted.holds(value)
    if isinstance(wanted, OneOf):
        return any(_equals(item, value) for item in wanted.values)
    return _equals(wanted, value)


def _equals(wanted: object, value: object) -> bool:
    return isinstance(wanted, bool) == isinstance(value, bool) and wanted == value
