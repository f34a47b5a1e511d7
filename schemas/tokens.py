"""Read-your-writes tokens: what a publisher gets back for an event, and passes along with a question (`after`)."""

from __future__ import annotations

import base64
import binascii
from typing import Final, NamedTuple

import orjson

from schemas.errors import Rejected
from schemas.index import DocKey

MAX_PARTITION: Final = 2**31 - 1
MAX_OFFSET: Final = 2**63 - 1
_PARTS: Final = 5


class WriteToken(NamedTuple):
    """Where an event lies, and which document it speaks of. Opaque to those who carry it.

    It is not signed, as services that publish through Kafka make their own: it proves nothing and opens nothing, and what it is
    answered with depends on what its caller may read (`query_api.view.IndexView.wait_for`).
    """

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
                # Anybody may have written it: what no log has, no index can look up.
                if 0 <= partition <= MAX_PARTITION and 0 <= offset <= MAX_OFFSET:
                    return cls(log_id, partition, offset, DocKey(index, doc_id))
        msg = "bad_token"
        raise Rejected(msg, "a token in `after` can't be read; pass it as it was given")
