"""What Milvus's errors become."""

from __future__ import annotations

import grpc
import pytest
from pymilvus.exceptions import DataNotMatchException, MilvusException, ParamError

from connectors.milvus.errors import NotLoaded, TooLate, translated
from schemas.errors import Fatal, Misconfigured, RagError, Retryable


class RpcError(grpc.RpcError):
    """What gRPC raises, as far as it is looked at."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "said so"


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        pytest.param(RpcError(grpc.StatusCode.UNAVAILABLE), Retryable, id="away"),
        pytest.param(RpcError(grpc.StatusCode.DEADLINE_EXCEEDED), TooLate, id="slow"),
        pytest.param(RpcError(grpc.StatusCode.RESOURCE_EXHAUSTED), Retryable, id="overloaded"),
        pytest.param(RpcError(grpc.StatusCode.UNAUTHENTICATED), Misconfigured, id="credentials"),
        pytest.param(RpcError(grpc.StatusCode.PERMISSION_DENIED), Misconfigured, id="permission"),
        pytest.param(RpcError(grpc.StatusCode.UNIMPLEMENTED), Fatal, id="unimplemented"),
        pytest.param(MilvusException(8, "rate limit exceeded"), Retryable, id="rate-limit"),
        pytest.param(MilvusException(65535, "no available shard delegator found"), Retryable, id="starting"),
        pytest.param(MilvusException(65535, "cannot parse expression: x("), Fatal, id="expression"),
        pytest.param(MilvusException(1100, "invalid parameter"), Fatal, id="parameter"),
        pytest.param(MilvusException(100, "collection not found"), Misconfigured, id="collection"),
        pytest.param(MilvusException(800, "database not found"), Misconfigured, id="database"),
        pytest.param(MilvusException(65535, "database:nope not found"), Misconfigured, id="database-2.3"),
        pytest.param(MilvusException(1401, "privilege not permitted"), Misconfigured, id="privilege"),
        pytest.param(MilvusException(101, "collection not loaded"), NotLoaded, id="not-loaded"),
        pytest.param(ParamError(message="wrong"), Fatal, id="client-side-parameter"),
        pytest.param(DataNotMatchException(message="wrong"), Fatal, id="client-side-data"),
    ],
)
def test_errors_are_told_by_their_remedy(raised: Exception, expected: type[RagError]) -> None:
    """The class says what to do, the message where and at what, and the cause is kept."""
    with pytest.raises(expected, match=r"http://m:1") as caught, translated("http://m:1", "searching docs"):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


def test_what_pymilvus_wraps_is_unwrapped() -> None:
    """A timeout stays a timeout, however it is dressed."""
    wrapped = MilvusException(1, "Unexpected error")
    wrapped.__cause__ = RpcError(grpc.StatusCode.UNAUTHENTICATED)
    with pytest.raises(Misconfigured, match="RAG_MILVUS__TOKEN"), translated("http://m:1", "ping"):
        raise wrapped


def test_other_errors_pass_untouched() -> None:
    """A bug is not an outage."""
    with pytest.raises(ZeroDivisionError), translated("http://m:1", "ping"):
        _ = 1 / 0
