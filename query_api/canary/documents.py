"""The canary's documents: as many in each partition of `rag.documents`, because the lag of each is another one. Pure."""

from __future__ import annotations

import hashlib
from typing import Final

from connectors.kafka import partition_for_key
from schemas.acl import OPERATOR_ONLY
from schemas.documents import DocumentChange, InlineText
from schemas.index import DocKey
from schemas.settings import IndexSettings
from schemas.wire import from_ms

PREFIX: Final = "ragstream-canary"
TTL_S: Final = 24 * 3600
"""They end by themselves this long after the last one was sent."""
GIVE_UP_S: Final = TTL_S / 2
"""Well before its end, so that what has ended is never taken for what is missing."""
WORD_LENGTH: Final = 14
_CONSONANTS: Final = "bcfghjkmnpqvwxz"


def keys_of(index: str, worker: str, partitions: int, per_partition: int) -> list[DocKey]:
    """`per_partition` documents in each of `partitions`, partitions taking turns. `worker` makes them this worker's own."""
    found: dict[int, list[DocKey]] = {partition: [] for partition in range(partitions)}
    number = 0
    while any(len(keys) < per_partition for keys in found.values()):
        key = DocKey(index, f"{PREFIX}/{worker}/{number}")
        keys = found[partition_for_key(key.doc_id.encode(), partitions)]
        if len(keys) < per_partition:
            keys.append(key)
        number += 1
    return [keys[turn] for turn in range(per_partition) for keys in found.values()]


def word_of(key: DocKey, version: int) -> str:
    """A text of one word that no other text holds: consonants only, so that no stemmer cuts it and no question asks for it."""
    digest = hashlib.blake2b(f"{key}@{version}".encode(), digest_size=WORD_LENGTH).digest()
    return "".join(_CONSONANTS[byte % len(_CONSONANTS)] for byte in digest)


def change_of(key: DocKey, version: int, index: IndexSettings) -> DocumentChange:
    """An upsert for the operator's eyes only. `version`: milliseconds; the event's time, and its number where versions count."""
    return DocumentChange(
        op="upsert",
        doc_id=key.doc_id,
        index=key.index,
        event_time=from_ms(version),
        acl=OPERATOR_ONLY,
        content=InlineText(text=word_of(key, version), media_type="text/plain"),
        ttl_seconds=TTL_S,
        **({"version": version} if index.versions == "producer" else {}),
    )
