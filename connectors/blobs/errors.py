"""Why content can't be fetched.

Reasons: unsupported_scheme, malformed_uri, outside_roots, not_found, not_readable, not_regular, too_large, hash_mismatch.
What may pass, such as a store that is away or a disk's read error, is `Retryable` instead.
"""

from __future__ import annotations

from schemas.errors import Rejected, Retryable


class BlobRejected(Rejected):
    """This URI will never give the content that was meant."""


class BlobTroubled(Retryable):
    """This file can't be read just now, while its store is there: whoever waits for it should not wait for ever."""
