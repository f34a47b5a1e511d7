"""What all messages on the wire share: strictness, JSON codec, times and identifiers. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from schemas.acl import MAX_ACL_BYTES, MAX_ALLOW_LIST, MAX_PRINCIPAL_LENGTH, PRINCIPAL_PATTERN, AllowList, allow_list, size_of
from schemas.errors import Rejected

SCHEMA_VERSION: Final = 1
MAX_VERSION: Final = 2**53 - 1
"""Versions stay exact in every producer's language: JSON numbers are doubles in many of them."""
MAX_DOC_ID_LENGTH: Final = 512
DEFAULT_INDEX: Final = "docs"
INDEX_PATTERN: Final = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"
MAX_INDEX_NAME: Final = 48

M = TypeVar("M", bound=BaseModel)

_EPOCH = datetime.fromtimestamp(0, UTC)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_MAX_LOCATION_LENGTH = 64
_MAX_ERRORS_SHOWN = 5


def _no_control_characters(value: str) -> str:
    if not value.isprintable() and _CONTROL.search(value):
        msg = "must not contain control characters"
        raise ValueError(msg)
    return value


def _rfc3339(value: object) -> object:
    # Numbers would be guessed to be seconds or milliseconds, and "20240101" to be seconds: a wrong guess orders changes wrongly.
    if isinstance(value, datetime) or (isinstance(value, str) and _RFC3339.fullmatch(value)):
        return value
    msg = "must be an RFC 3339 date and time with an offset, such as 2026-03-01T12:00:00Z"
    msg_0 = "moment"
    raise PydanticCustomError(msg_0, msg)


def at_most(limit: int) -> BeforeValidator:
    """Refuses a longer list or object at once, before an error is made for each of a million wrong items."""

    def check(value: object) -> object:
        if isinstance(value, (list, tuple, dict)) and len(value) > limit:
            msg = "must not hold more than {limit} items; it holds {count}"
            msg_0 = "too_many"
            raise PydanticCustomError(msg_0, msg, {"limit": limit, "count": len(value)})
        return value

    return BeforeValidator(check)


def is_index_name(name: str) -> bool:
    """Whether an index may be called `name`."""
    return len(name) <= MAX_INDEX_NAME and re.fullmatch(INDEX_PATTERN.removesuffix("$"), name) is not None


def to_ms(moment: datetime) -> int:
    """Milliseconds since the epoch, rounded down."""
    return int((moment - _EPOCH) // timedelta(milliseconds=1))


LAST_MS: Final = 253_402_300_799_999
"""The last moment that has a date."""


def from_ms(ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=ms)


def _bounded(allow: AllowList) -> AllowList:
    size = size_of(allow)
    if size > MAX_ACL_BYTES:
        msg = "must not take more than {limit} bytes, all names together; it takes {size}: name a group"
        msg_0 = "acl_too_large"
        raise PydanticCustomError(msg_0, msg, {"limit": MAX_ACL_BYTES, "size": size})
    return allow


ONE_LINE = AfterValidator(_no_control_characters)
"""Goes after a string's limits: those written behind it would be missing in the JSON Schema."""
Line = Annotated[str, ONE_LINE]
"""Text on one line."""
Text = str
"""Any text; unpaired surrogates are refused by pydantic."""
DocId = Annotated[str, Field(min_length=1, max_length=MAX_DOC_ID_LENGTH), ONE_LINE]
IndexName = Annotated[str, Field(pattern=INDEX_PATTERN, max_length=MAX_INDEX_NAME)]
Version = Annotated[int, Field(ge=0, le=MAX_VERSION, strict=True)]
Principal = Annotated[str, Field(pattern=PRINCIPAL_PATTERN, max_length=MAX_PRINCIPAL_LENGTH)]
Acl = Annotated[
    tuple[Principal, ...],
    Field(max_length=MAX_ALLOW_LIST),
    at_most(MAX_ALLOW_LIST),
    AfterValidator(allow_list),
    AfterValidator(_bounded),
]
Moment = Annotated[AwareDatetime, BeforeValidator(_rfc3339)]
"""RFC 3339 with an offset; seconds may be left out. No numbers."""


class Strict(BaseModel):
    """For what others send us: an unknown field is a typo until shown otherwise (`"acls"` would silently revoke nothing)."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Growing(BaseModel):
    """For what we send others: readers of an older release ignore fields they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    def to_bytes(self) -> bytes:
        """Compact JSON. Fields that are null are left out; the schema version always travels."""
        return self.model_dump_json(exclude_none=True, by_alias=True).encode()

    @classmethod
    def from_bytes(cls, raw: bytes) -> Self:
        """Raises: Rejected, when `raw` is not such a message."""
        return parse(cls, raw)


def parse(model: type[M], raw: bytes) -> M:
    """`raw` as a `model`. Raises: Rejected, naming what is wrong and where but quoting no content."""
    try:
        return model.model_validate_json(raw)
    except ValidationError as exc:
        errors = _errors(exc)
        raise Rejected(_reason(errors), _described(errors)) from exc


def describe(exc: ValidationError) -> str:
    """The errors of `exc` in one line: where and what, never the values (they may be document text)."""
    return _described(_errors(exc))


def _errors(exc: ValidationError) -> list[Any]:
    # Asked for once: a hostile message has one for each of its 300,000 unknown fields.
    return list(exc.errors(include_input=False, include_url=False, include_context=False))


def _described(errors: list[Any]) -> str:
    shown = [f"{_place(error['loc'])}: {error['msg']}" for error in errors[:_MAX_ERRORS_SHOWN]]
    more = len(errors) - len(shown)
    return "; ".join(shown) + (f" (and {more} more)" if more else "")


def _place(location: tuple[object, ...]) -> str:
    # An unknown field's name is the sender's, and may be megabytes.
    return ".".join(str(part)[:_MAX_LOCATION_LENGTH] for part in location) or "message"


def _reason(errors: list[Any]) -> str:
    if any(error["type"] == "json_invalid" for error in errors):
        return "not_json"
    places = {error["loc"][:1] for error in errors}
    if ("schema_version",) in places:
        return "unknown_schema_version"
    return "unknown_op" if ("op",) in places else "invalid"
