"""The official client's errors in our words, by what can be done about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from connectors.llm.errors import ModelFailed, ModelRateLimited, ModelRefused, ModelTimeout, ModelUnavailable

if TYPE_CHECKING:
    from openai import APIError, APIStatusError

NEGOTIABLE: Final = ("stream_options", "max_tokens", "temperature")
"""Parameters that are left out, or renamed, for an endpoint that rejects them by name."""
NO_CREDIT: Final = "insufficient_quota"
"""OpenAI says 429 to an account without money, too. Waiting doesn't help it."""
NAME_LENGTH_MAX: Final = 80

_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})
_UNKNOWN: Final = re.compile(
    r"unsupported|not supported|unrecognized|unknown|unexpected|not permitted|extra|forbid", re.IGNORECASE
)
_NAME = re.compile(r"[\w.:/@+ -]+")


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Raise what goes wrong inside as one of our errors."""
    from openai import APIError, APIStatusError, APITimeoutError  # noqa: PLC0415  see EndpointChat

    try:
        yield
    except APITimeoutError as exc:
        msg = f"{place}: {type(exc.__cause__ or exc).__name__}"
        raise ModelTimeout(msg) from exc
    except APIStatusError as exc:
        raise _of_status(exc, place) from exc
    except APIError as exc:
        raise _of_stream(exc, place) from exc
    except (ValueError, AttributeError, TypeError) as exc:  # neither JSON nor UTF-8, or JSON of another shape
        msg = f"{place}: sent what is no chat completion"
        raise ModelUnavailable(msg) from exc


def unwanted_parameter(error: APIStatusError) -> str | None:
    """The parameter that an endpoint rejects, if it is one that can be done without."""
    if error.status_code not in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY):
        return None
    if error.param in NEGOTIABLE:
        return error.param
    # Others only say so in words. A value that is out of range is none of this: that request will never do.
    said = str(error.body or error.message)
    named = [name for name in NEGOTIABLE if name in said]
    is_unknown = re.search(
        r"unsupported|not supported|unrecognized|unknown|unexpected|not permitted|extra|forbid", said, re.IGNORECASE
    )
    return named[0] if named and is_unknown else None


def described(value: object, otherwise: str) -> str:
    """A name that came from outside, if it is fit to be shown."""
    return value if isinstance(value, str) and len(value) <= NAME_LENGTH_MAX and _NAME.fullmatch(value) else otherwise


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the endpoint wants to be left alone: seconds, or a date, or OpenAI's milliseconds."""
    millis = headers.get("retry-after-ms", "")
    if re.fullmatch(r"\d{1,9}(\.\d+)?", millis):
        return float(millis) / 1000
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _of_status(error: APIStatusError, place: str) -> ModelFailed:
    status, wait_s = error.status_code, retry_after_s(error.response.headers)
    said = f"{place}: {status}{_codes(error)}"
    if status == HTTPStatus.TOO_MANY_REQUESTS and NO_CREDIT not in (error.code, error.type):
        return ModelRateLimited(said, retry_after_s=wait_s)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        return ModelUnavailable(said, retry_after_s=wait_s)
    return ModelRefused(said)


def _of_stream(error: APIError, place: str) -> ModelFailed:
    """No connection, a broken one, or an error sent in place of a chunk."""
    cause = error.__cause__
    return ModelUnavailable(f"{place}: {type(cause).__name__ if cause else 'error in the stream'}{_codes(error)}")


def _codes(error: APIError) -> str:
    names = [described(name, "") for name in (error.code, error.type)]
    found = list(dict.fromkeys(name for name in names if name))
    return f" ({', '.join(found)})" if found else ""
