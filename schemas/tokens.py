"""Read-your-writes tokens: what a publisher gets back for an event, and passes along with a question (`after`)."""

from __future__ import annotations

import base64
import binascii
from typing import NamedTuple

import orjson

from schemas.errors import Rejected
from schemas.index import DocKey

_PARTS = 5


class WriteToken(NamedTuple):
    """Where an event lies, and which document it speaks of. Opaque to those who carry it."""

    log_id: str
    partition: int
    offset: int
    key: DocKey

    def __str__(self) -> str:
        parts = [self.log_id, self.partition, self.offset, self.key.index, self.key.doc_id]
        return base64.urlsafe_b64encode(orjson.dumps(parts)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> WriteToken:
        """Inverse of `str`. Raises: Rejected, when `text` is no token."""
        try:
            parts = orjson.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
        except (binascii.Error, ValueError) as exc:
            msg = "bad_token"
            raise Rejected(msg, "a token in `after` can't be read; pass it as it was given") from exc
        match parts:
            case [str(log_id), int(partition), int(offset), str(index), str(doc_id)] if len(parts) == _PARTS:
                return cls(log_id, partition, offset, DocKey(index, doc_id))
        msg = "bad_token"
        raise Rejected(msg, "a token in `after` can't be read; pass it as it was given")
