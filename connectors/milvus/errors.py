"""Milvus's errors in our words, by what the caller can do about them.

    Retryable
    ├── NotLoaded   the collection's data is not in the server's memory: load it and ask again
    └── TooLate     no answer in the time that there was

Codes are Milvus's own (pkg/util/merr). What is not known to be permanent is taken to pass: a Milvus that starts, moves a segment
or loses a node answers with codes of all kinds, mostly 65535.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import grpc

from schemas.errors import Fatal, Misconfigured, Retryable

if TYPE_CHECKING:
    from pymilvus.exceptions import MilvusException

COLLECTION_NOT_FOUND: Final = 100
COLLECTION_NOT_LOADED: Final = 101
DATABASE_NOT_FOUND: Final = 800
NOT_AUTHENTICATED: Final = frozenset({1400, 1401, 1402, 1403})
INVALID_PARAMETERS: Final = frozenset({1100, 1101, 1102})

_MISSING: Final = {
    COLLECTION_NOT_FOUND: "Ingest creates collections; is RAG_GENERATION right?",
    DATABASE_NOT_FOUND: "Create the database, or mend RAG_MILVUS__DATABASE",
}
# Milvus 2.3 has no code for it.
_DATABASE_IS_MISSING = re.compile(r"\bdatabase:\S+ not found")
_REFUSED_CREDENTIALS = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
_REFUSED_REQUESTS = (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT)
_REFUSING_WORDS = ("cannot parse expression", "should divide the dim", "dimension mismatch", "exceeds max length")


class NotLoaded(Retryable):
    """The collection is not loaded."""


class TooLate(Retryable):
    """No answer in time."""


@contextmanager
def translated(uri: str, what: str) -> Iterator[None]:
    """Raise what goes wrong inside as one of our errors; `what` says what was being done."""
    # Two seconds to import, and a process may never need it.
    from pymilvus.exceptions import MilvusException  # noqa: PLC0415

    try:
        yield
    except MilvusException as exc:
        raise _from_milvus(exc, uri, what) from exc
    except grpc.RpcError as exc:
        raise _from_grpc(exc, uri, what) from exc
    except grpc.FutureTimeoutError as exc:
        msg = f"Milvus at {uri} did not answer in time ({what})"
        raise TooLate(msg) from exc


def _from_grpc(error: grpc.RpcError, uri: str, what: str) -> Exception:
    code, details = error.code(), error.details()
    if code in _REFUSED_CREDENTIALS:
        return _bad_credentials(uri, details)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return TooLate(f"Milvus at {uri} did not answer in time ({what})")
    if code in _REFUSED_REQUESTS:
        return Fatal(f"Milvus at {uri} refuses {what}: {code.name} {details}")
    return Retryable(f"Milvus at {uri} is away or overloaded ({what}): {code.name} {details}")


def _from_milvus(error: MilvusException, uri: str, what: str) -> Exception:
    cause = _rpc_cause(error)
    if cause is not None:
        return _from_grpc(cause, uri, what)
    said = f"Milvus at {uri}: {what}: {error.message} (code {error.code})"
    if error.code in NOT_AUTHENTICATED:
        return _bad_credentials(uri, error.message)
    remedy = _MISSING.get(DATABASE_NOT_FOUND if _DATABASE_IS_MISSING.search(error.message) else error.code)
    if remedy is not None:
        return Misconfigured(f"{said}. {remedy}")
    if error.code == COLLECTION_NOT_LOADED or "not loaded" in error.message:
        return NotLoaded(said)
    return Fatal(said) if _is_refused(error) else Retryable(said)


def _is_refused(error: MilvusException) -> bool:
    from pymilvus import exceptions  # noqa: PLC0415

    client_side = (
        exceptions.ParamError,
        exceptions.DataNotMatchException,
        exceptions.DataTypeNotMatchException,
        exceptions.ConnectionConfigException,
    )
    if isinstance(error, client_side) or error.is_input_error or error.code in INVALID_PARAMETERS:
        return True
    return any(words in error.message for words in _REFUSING_WORDS)


def _bad_credentials(uri: str, details: str | None) -> Misconfigured:
    return Misconfigured(
        f"Milvus at {uri} refuses the credentials: {details}. Set RAG_MILVUS__TOKEN to `user:password` or an API key"
    )


def _rpc_cause(error: BaseException) -> grpc.RpcError | None:
    """pymilvus wraps what gRPC raised, sometimes twice."""
    cause = error.__cause__
    while cause is not None and cause is not error:
        if isinstance(cause, grpc.RpcError):
            return cause
        error, cause = cause, cause.__cause__
    return None
