"""Which of very many keys were there: a Bloom filter (Bloom 1970, doi 10.1145/362686.362692). It never says no of one that was.

Of five million keys it takes one in a hundred for one of them that wasn't; in 8 MiB, whatever their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

BITS: Final = 1 << 26
HASHES: Final = 3


class Forgotten:
    """Keys that were added, roughly. Takes its room with the first one. Not thread-safe."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, key: str) -> None:
        if not self._bits:
            self._bits = bytearray(BITS // 8)
        for at in _places(key):
            self._bits[at >> 3] |= 1 << (at & 7)

    def __contains__(self, key: str) -> bool:
        return bool(self._bits) and all(self._bits[at >> 3] >> (at & 7) & 1 for at in _places(key))


def _places(key: str) -> Iterator[int]:
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=4 * HASHES).digest()
    return (int.from_bytes(digest[start : start + 4]) % BITS for start in range(0, len(digest), 4))
