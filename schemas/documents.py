"""`DocumentChange`: what upstream systems publish to `rag.documents`, one message a change of one document.

Strict: an unknown field, a wrong type or an unknown `schema_version` is rejected (a dead letter), because a typo in
`acl` must not pass for "no change of access". docs/publishing.md explains the contract to producers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated, Final, Literal, Self

import orjson
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from schemas.wire import (
    DEFAULT_INDEX,
    ONE_LINE,
    SCHEMA_VERSION,
    Acl,
    DocId,
    IndexName,
    Moment,
    Strict,
    Text,
    Version,
    at_most,
    to_ms,
)

MAX_TITLE_LENGTH: Final = 512
MAX_URI_LENGTH: Final = 2048
MAX_METADATA_KEYS: Final = 32
MAX_METADATA_STRING: Final = 512
MAX_METADATA_LIST: Final = 32
MAX_TTL_SECONDS: Final = 100 * 366 * 24 * 3600

MediaType = Annotated[str, Field(pattern=r"^[a-z0-9.+-]+/[a-z0-9.+-]+$", max_length=128)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _metadata_value(value: object, inner: ValidatorFunctionWrapHandler) -> object:
    try:
        return inner(value)
    except ValidationError:
        msg = "must be a line of text, a finite number, true or false, or a list of lines (limits: docs/publishing.md)"
        msg_0 = "metadata_value"
        raise PydanticCustomError(msg_0, msg) from None


MetadataString = Annotated[str, Field(max_length=MAX_METADATA_STRING), ONE_LINE]
MetadataNumber = Annotated[float, Field(strict=True, allow_inf_nan=False)]
MetadataInt = Annotated[int, Field(strict=True, ge=-(2**53) + 1, le=2**53 - 1)]
MetadataStrings = Annotated[tuple[MetadataString, ...], Field(max_length=MAX_METADATA_LIST), at_most(MAX_METADATA_LIST)]
MetadataValue = Annotated[
    Annotated[bool, Field(strict=True)] | MetadataInt | MetadataNumber | MetadataString | MetadataStrings,
    WrapValidator(_metadata_value),
]
MetadataKey = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]{0,63}$")]
Metadata = Annotated[
    dict[MetadataKey, MetadataValue],
    Field(max_length=MAX_METADATA_KEYS, json_schema_extra={"additionalProperties": False}),
    at_most(MAX_METADATA_KEYS),
]


def _from_base64(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value.translate(_URL_SAFE), validate=True)
    except (binascii.Error, ValueError) as exc:
        msg = "must be base64, padded, without line breaks"
        msg_0 = "base64"
        raise PydanticCustomError(msg_0, msg) from exc


_URL_SAFE = str.maketrans("-_", "+/")
FileBytes = Annotated[
    bytes,
    BeforeValidator(_from_base64),
    PlainSerializer(lambda data: base64.b64encode(data).decode(), return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]
"""Bytes in Python; on the wire base64 in the standard alphabet (the URL-safe one is read, too)."""


class InlineText(Strict):
    """Content as text. Markdown (the default) is chunked on its structure; HTML is converted to it."""

    text: Text
    media_type: Literal["text/markdown", "text/plain", "text/html", "text/csv"] = "text/markdown"

    def identity(self) -> bytes:
        return b"text\x00" + self.media_type.encode() + b"\x00" + self.text.encode()


class InlineBytes(Strict):
    """Content as base64 of a file's bytes: PDF, DOCX, PPTX, XLSX, HTML, EPUB, CSV, notebooks, text."""

    base64: FileBytes
    media_type: MediaType

    def identity(self) -> bytes:
        return b"sha256\x00" + self.media_type.encode() + b"\x00" + hashlib.sha256(self.base64).digest()


class ContentReference(Strict):
    """Content at an immutable place: its hash travels with it, so that what is read late is what was meant."""

    uri: Annotated[str, Field(max_length=MAX_URI_LENGTH, pattern=r"^[a-z][a-z0-9+.-]*:"), ONE_LINE]
    sha256: Sha256
    media_type: MediaType

    def identity(self) -> bytes:
        return b"sha256\x00" + self.media_type.encode() + b"\x00" + bytes.fromhex(self.sha256)


_KINDS: Final[dict[type[object], str]] = {InlineText: "text", InlineBytes: "base64", ContentReference: "uri"}
_KIND_NAMES: Final = frozenset(_KINDS.values())


def _kind(value: object) -> str | None:
    if not isinstance(value, dict):
        return _KINDS.get(type(value))
    given = value.keys() & _KIND_NAMES
    return given.pop() if len(given) == 1 else None


DocumentContent = Annotated[
    Annotated[InlineText, Tag("text")] | Annotated[InlineBytes, Tag("base64")] | Annotated[ContentReference, Tag("uri")],
    Discriminator(_kind, "content_kind", "must be an object that holds exactly one of `text`, `base64` and `uri`"),
]


class DocumentChange(Strict):
    """One change of one document. The Kafka key is `doc_id`.

    `version` orders a document's changes where its index counts versions (`RAG_INDEXES__<name>__VERSIONS=producer`);
    `event_time` does where it goes by timestamps (the default), and the Kafka timestamp stands in for a missing one.
    """

    schema_version: Literal[1] = Field(SCHEMA_VERSION, description="Version of this contract.")
    op: Literal["upsert", "delete", "access"] = Field(
        description="upsert: content, and what else is given; delete; access: only who may read, or an earlier end."
    )
    doc_id: DocId = Field(description="The document's name, unique in its index. Also the Kafka key.")
    index: IndexName = Field(DEFAULT_INDEX, description="The index the document belongs to.")
    version: Version | None = Field(None, description="The producer's version; rises with every change.")
    event_time: Moment | None = Field(None, description="When the change happened. Default: the Kafka timestamp.")
    title: Annotated[str, Field(max_length=MAX_TITLE_LENGTH), ONE_LINE] | None = Field(
        None, description="Shown in citations. Default: the first heading, else doc_id."
    )
    content: DocumentContent | None = Field(None, description="Text, base64 bytes or an immutable reference.")
    source_uri: Annotated[str, Field(max_length=MAX_URI_LENGTH), ONE_LINE] | None = Field(
        None, description="Where a person finds the document; shown in citations."
    )
    acl: Acl | None = Field(
        None, description="Who may read: `user:…`, `group:…`, `*` for all. Missing: unchanged; [] : only the operator."
    )
    expires_at: Moment | None = Field(None, description="The document's end. null removes an earlier one.")
    ttl_seconds: Annotated[int, Field(ge=1, le=MAX_TTL_SECONDS, strict=True)] | None = Field(
        None, description="The document's end, counted from the event's time."
    )
    metadata: Metadata = Field(default_factory=dict, description="Flat, typed values to filter by.")

    @model_validator(mode="after")
    def _fields_fit_the_op(self) -> Self:
        if self.op == "upsert":
            if self.content is None:
                msg = "an upsert needs `content`; use op `access` to change only who may read"
                raise ValueError(msg)
        else:
            self._check_access_or_delete()
        if self.expires_at is not None and self.ttl_seconds is not None:
            msg = "give either expires_at or ttl_seconds, not both"
            raise ValueError(msg)
        return self

    def _check_access_or_delete(self) -> None:
        # Serializers of other languages write null, or an empty map, for what is not set: that counts as left out.
        given = {name for name in self.model_fields_set if getattr(self, name) not in (None, {})}
        wrong = sorted(given & {"content", "title", "source_uri", "metadata"})
        if wrong:
            msg = f"op `{self.op}` can't carry {', '.join(wrong)}"
            raise ValueError(msg)
        if self.op == "delete" and given & {"acl", "expires_at", "ttl_seconds"}:
            msg = "a delete can't carry acl, expires_at or ttl_seconds"
            raise ValueError(msg)
        if self.op == "access" and not given & {"acl", "expires_at", "ttl_seconds"}:
            msg = "an access change needs `acl`, `expires_at` or `ttl_seconds`"
            raise ValueError(msg)

    @property
    def carries_expiry(self) -> bool:
        """Whether the event says something about expiry; an explicit `"expires_at": null` does."""
        return self.ttl_seconds is not None or "expires_at" in self.model_fields_set

    def expires_at_ms(self, event_time_ms: int) -> int | None:
        if self.ttl_seconds is not None:
            return event_time_ms + self.ttl_seconds * 1000
        return to_ms(self.expires_at) if self.expires_at else None

    def content_digest(self) -> str | None:
        """Digest of all that an upsert replaces; the same digest means nothing to parse, chunk or embed."""
        if self.content is None:
            return None
        # An empty title or URI is none: it has the same effect, so it must have the same digest.
        said = (self.title or None, self.source_uri or None, self.metadata)
        about = said if any(said) else ()
        described = orjson.dumps(about, option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(described + b"\x00" + self.content.identity()).hexdigest()[:40]

    def to_bytes(self) -> bytes:
        """The message's value: compact JSON with the fields that were given."""
        stamped = self.model_copy(update={"schema_version": SCHEMA_VERSION})
        return stamped.model_dump_json(exclude_unset=True).encode()
