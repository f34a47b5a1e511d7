"""Every error over HTTP: a stable code, its status and remedy, as a problem document (RFC 9457).

docs/http.md has the table (a test compares). On OpenAI's routes the document has an `error` object, too: their clients read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from schemas.queries import AnswerEvent

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:ragstream:problem:"
RETRY_AFTER_S: Final = 1

UNAUTHORIZED: Final = 401
UNPROCESSABLE: Final = 422
TOO_MANY: Final = 429
UNAVAILABLE: Final = 503
TIMED_OUT: Final = 504


class Kind(NamedTuple):
    """What stands behind a code."""

    status: int
    title: str
    remedy: str


_CORRECT: Final = "Correct what `detail` names and send the request again."
_AGAIN: Final = "Ask again in a moment; `Retry-After` says when."
_CREDENTIALS: Final = "Send `Authorization: Bearer` with a valid API key or token, or no such header to ask as anybody."

KINDS: Final[Mapping[str, Kind]] = {
    "not_json": Kind(400, "The body is no JSON", "Send one JSON value, in UTF-8."),
    "bad_request": Kind(400, "The request can't be read", _CORRECT),
    "invalid_credentials": Kind(401, "The credentials don't hold", _CREDENTIALS),
    "credentials_expired": Kind(401, "The credentials have expired", "Get a new token or key."),
    "credentials_required": Kind(401, "Credentials are needed", "Send `Authorization: Bearer` with an API key or a token."),
    "unusable_principal": Kind(
        401, "The credentials name nobody", "Have the issuer name the user in the claim that is asked for."
    ),
    "too_many_groups": Kind(
        401, "The credentials hold too many groups", "Have the issuer send only the groups that documents name."
    ),
    "scope_missing": Kind(403, "The credentials don't allow this", "Use credentials with the scope that `detail` names."),
    "not_found": Kind(404, "There is nothing here", "/openapi.json lists the paths."),
    "model_not_found": Kind(404, "There is no such model", "GET /v1/models lists them."),
    "method_not_allowed": Kind(405, "The path doesn't take this method", "Use a method that the header `Allow` names."),
    "body_too_slow": Kind(408, "The body didn't arrive in time", "Send the whole body at once."),
    "body_too_large": Kind(413, "The body is too large", "Send less, or have RAG_HTTP__MAX_BODY_KIB raised."),
    "message_too_large": Kind(413, "A document is too large", "Give its content by `uri`, or split it."),
    "unsupported_media_type": Kind(415, "The body is not declared as JSON", "Send `Content-Type: application/json`."),
    "host_not_allowed": Kind(
        421, "The name is none of this server's", "Ask by a name that it has, or have this one added to RAG_HTTP__ALLOWED_HOSTS."
    ),
    "invalid": Kind(422, "The request is not valid", _CORRECT),
    "unknown_schema_version": Kind(422, "The schema version is not known", "Send `schema_version` 1, or leave it out."),
    "unknown_op": Kind(422, "The operation is not known", "`op` is one of upsert, delete and access."),
    "unsupported_parameter": Kind(
        422, "A parameter asks for what is not done here", "Leave out the parameter that `detail` names."
    ),
    "query_id_conflict": Kind(422, "Two different ids for one query", "Send `query_id` or the header Idempotency-Key, not both."),
    "unknown_index": Kind(422, "There is no such index", _CORRECT),
    "bad_token": Kind(422, "A read-your-writes token can't be read", "Pass tokens as they were given."),
    "token_of_another_log": Kind(422, "A read-your-writes token is of another log", "Publish again; the log was made anew."),
    "too_many_of_caller": Kind(429, "Too many requests of one caller are being worked on", _AGAIN),
    "internal_error": Kind(500, "An unexpected error", "Tell the operator the `request_id`: the log has the rest."),
    "overloaded": Kind(503, "Too many requests are being worked on", _AGAIN),
    "stopping": Kind(503, "This server is being stopped", "Ask again; another server, or this one restarted, answers."),
    "credentials_unverifiable": Kind(503, "Tokens can't be checked yet", _AGAIN),
    "not_yet": Kind(503, "The changes in `after` are not reflected yet", _AGAIN),
    "view_not_ready": Kind(
        503, "The view of the index is not caught up yet", "Ask again later; /readyz says what is waited for."
    ),
    "retrieval_failed": Kind(503, "Nothing could be searched", _AGAIN),
    "unavailable": Kind(503, "Something needed is away", _AGAIN),
    "answer_failed": Kind(503, "No answer could be made", _AGAIN),
    "not_acknowledged": Kind(503, "The log did not acknowledge in time", "Publish the same again: it does no harm."),
    "answer_replaced": Kind(503, "The text sent so far is void", "Discard it and ask again."),
    "deadline_passed": Kind(
        504, "The deadline passed", "Give more time with `timeout_ms`, up to RAG_QUERY__DEADLINE_S, or ask for less."
    ),
}
"""By code. `answer_replaced` comes inside OpenAI's streams only: they can't take text back."""

_BY_OUTCOME: Final = {"rejected": "invalid", "expired": "deadline_passed", "failed": "answer_failed"}


class ProblemError(Exception):
    """Ends a request with a problem document.

    Args:
        code: in `KINDS`, or a pipeline's reason, whose kind is then `like`'s.
        detail: names the value and what is wrong with it; no text of documents or questions.
        more: further members of the document.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        like: str = "",
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.kind = KINDS.get(code) or KINDS[like]
        self.more = dict(more or {})
        self.headers = dict(headers or {})
        if self.kind.status == UNAUTHORIZED:
            self.headers.setdefault("WWW-Authenticate", "Bearer")
        if self.kind.status in (TOO_MANY, UNAVAILABLE):
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S))

    def document(self, request_id: str, *, for_openai: bool = False) -> bytes:
        body: dict[str, Any] = {
            "type": TYPE_PREFIX + self.code.replace("_", "-"),
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "code": self.code,
            "remedy": self.kind.remedy,
            "request_id": request_id,
            **self.more,
        }
        if for_openai:
            body["error"] = self.for_openai()
        return orjson.dumps(body)

    def for_openai(self) -> dict[str, Any]:
        """As OpenAI's clients read errors."""
        kinds = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
        fallback = "server_error" if self.kind.status >= 500 else "invalid_request_error"  # noqa: PLR2004
        message = f"{self.detail}. {self.kind.remedy}" if self.detail else self.kind.remedy
        return {"message": message, "type": kinds.get(self.kind.status, fallback), "param": None, "code": self.code}


def is_problem(event: AnswerEvent) -> bool:
    """Whether a final event is told as an error: all but `answered` and `unknown`."""
    return event.outcome not in {"answered", "unknown"}


def problem_of(event: AnswerEvent) -> ProblemError:
    """A final event that is no answer, as a problem that carries it: what it says of freshness holds."""
    like = _BY_OUTCOME[event.outcome or "failed"]
    detail = event.error or KINDS[like].title
    return ProblemError(
        event.reason or like,
        detail,
        like=like,
        more={"query_id": event.query_id, "answer": event.model_dump(mode="json", exclude_none=True)},
    )
