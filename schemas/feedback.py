"""`Feedback`: what a user thought of an answer. Published to `rag.feedback`, key `query_id`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from schemas.queries import QueryId
from schemas.wire import SCHEMA_VERSION, Moment, Principal, Strict, Text

MAX_COMMENT_LENGTH: Final = 4_000


class Feedback(Strict):
    """Thumbs up or down, with a comment if there is one."""

    schema_version: Literal[1] = SCHEMA_VERSION
    query_id: QueryId
    rating: Literal["up", "down"]
    comment: Annotated[Text, Field(max_length=MAX_COMMENT_LENGTH)] | None = None
    principal: Principal | None = Field(None, description="Who gives it; counts only from whoever asked.")
    given_at: Moment | None = None
