"""What all messages on the wire share: strictness, JSON codec, times and identifiers. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from schemas.acl import MAX_ALLOW_LIST, MAX_PRINCIPAL_LENGTH, PRINCIPAL_PATTERN, allow_list
from schemas.errors import Rejected

SCHEMA_VERSION: Final = 1
MAX_VERSION: Final = 2**53 - 1
"""Versions stay exact in every producer's language: JSON numbers are doubles in many of them."""
MAX_DOC_ID_LENGTH: Final = 512
DEFAULT_INDEX: Final = "docs"

M = TypeVar("M", bound=BaseModel)

_EPOCH = datetime.fromtimestamp(0, UTC)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _no_control_characters(value: str) -> str:
    if _CONTROL.search(value):
        msg = "must not contain control characters"
        raise ValueError(msg)
    return value


def _encodable(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        msg = "must be valid Unicode: it holds an unpaired surrogate"
        raise ValueError(msg) from exc
    return value


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return int((moment - _EPOCH) // timedelta(milliseconds=1))


def from_ms(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


Line = Annotated[str, AfterValidator(_no_control_characters), AfterValidator(_encodable)]
"""Text on one line."""
Text = Annotated[str, AfterValidator(_encodable)]
DocId = Annotated[Line, Field(min_length=1, max_length=MAX_DOC_ID_LENGTH)]
IndexName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=48)]
Version = Annotated[int, Field(ge=0, le=MAX_VERSION, strict=True)]
Principal = Annotated[str, Field(pattern=PRINCIPAL_PATTERN, max_length=MAX_PRINCIPAL_LENGTH)]
Acl = Annotated[tuple[Principal, ...], Field(max_length=MAX_ALLOW_LIST), AfterValidator(allow_list)]
Moment = AwareDatetime
"""RFC 3339 with an offset, or a number of seconds or milliseconds since the epoch."""


class Strict(BaseModel):
    """For what others send us: an unknown field is a typo until shown otherwise (`"acls"` would silently revoke nothing)."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")


class Growing(BaseModel):
    """For what we send others: readers of an older release ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Compact JSON; fields that hold their default are left out, but the schema version always travels."""
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises: Rejected, when `raw` is not such a message."""
        return parse(cls, raw)


def parse(model: type[M], raw: bytes) -> M:
    """`raw` as a `model`. Raises: Rejected, naming every wrong field but quoting no content."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as exc:
        raise Rejected(_reason(exc), describe(exc)) from exc


def describe(exc: ValidationError) -> str:
    """The errors of `exc` in one line: where and what, never the values (they may be document text)."""
    errors: list[Any] = list(exc.errors(include_input=False, include_url=False, include_context=False))
    parts = [f"{'.'.join(str(p) for p in error['loc']) or 'message'}: {error['msg']}" for error in errors[:5]]
    more = f" (and {len(errors) - 5} more)" if len(errors) > 5 else ""  # noqa: PLR2004
    return "; ".join(parts) + more


def _reason(exc: ValidationError) -> str:
    kinds = {error["type"] for error in exc.errors(include_input=False, include_url=False, include_context=False)}
    if "json_invalid" in kinds:
        return "not_json"
    places = {error["loc"][:1] for error in exc.errors(include_input=False, include_url=False, include_context=False)}
    if ("schema_version",) in places:
        return "unknown_schema_version"
    if ("op",) in places or "union_tag_invalid" in kinds or "union_tag_not_found" in kinds:
        return "unknown_op"
    return "invalid"
