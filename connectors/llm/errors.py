"""What can go wrong with a language model, by what the caller can do about it.

    ModelFailed
    ├── ModelUnavailable   away, overloaded or talking nonsense; try again (Retryable)
    │   └── EndpointResting   not asked at all: it failed too often just now
    ├── ModelTimeout       silent for too long, or the time given is over (Retryable)
    ├── ModelRateLimited   asked too often; says when to come back, where the endpoint does (Retryable)
    ├── ModelInterrupted   the stream broke after text had been sent; to try again is to take that text back (Retryable)
    └── ModelRefused       this request, or these credentials, will never be served: trying again changes nothing

Messages name the endpoint, a status and the endpoint's own codes, never its prose: some endpoints quote the prompt in it.
"""

from __future__ import annotations

from typing import ClassVar

from schemas.errors import RagError, Retryable
from schemas.queries import Degradation


class ModelFailed(RagError):
    """No whole answer of this model.

    Attributes:
        code: as answers say it.
        retry_after_s: how long the endpoint wants to be left alone; None where it doesn't say.
        waited_s: how long it was waited for in vain; 0 where it failed by itself.
    """

    code: ClassVar[Degradation] = "model_unavailable"

    def __init__(self, detail: str, *, retry_after_s: float | None = None, waited_s: float = 0.0) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        self.waited_s = waited_s


class ModelUnavailable(ModelFailed, Retryable):
    """The endpoint is away, overloaded or talks nonsense."""


class EndpointResting(ModelUnavailable):
    """The endpoint's breaker is open."""


class ModelTimeout(ModelFailed, Retryable):
    """No token came in time."""

    code = "model_timeout"


class ModelRateLimited(ModelFailed, Retryable):
    """The endpoint asks for fewer requests."""

    code = "model_rate_limited"


class ModelInterrupted(ModelFailed, Retryable):
    """The stream broke after text had been sent."""

    code = "model_interrupted"


class ModelRefused(ModelFailed):
    """The endpoint won't serve this request."""

    code = "model_refused"
