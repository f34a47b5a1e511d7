"""The port: what the ingest flow asks of a store of immutable content."""

from __future__ import annotations

from typing import Protocol


class BlobStore(Protocol):
    """Fetches content by URI. Safe to call from several threads; keeps nothing open between calls."""

    def fetch(self, uri: str, *, sha256: str | None, max_bytes: int, timeout_s: float) -> bytes:
        """Return the whole content. Blocks up to about `timeout_s`; reading twice does no harm.

        Args:
            uri: where it is.
            sha256: the hexadecimal digest it must have; None where the URI itself names an immutable version.
            max_bytes: more than this is not read.
            timeout_s: more than this is not waited for.

        Raises:
            BlobRejected: it isn't there, isn't what was meant, is too large, or may not be read.
            BlobTroubled: the store is there, and this blob is damaged or too slow to read in time.
            Retryable: the store is away or failing; the same call may succeed later.
        """
