"""Why a file can't be parsed.

Reasons: unsupported_media_type, too_large, not_utf8, malformed, encrypted, empty, archive_too_large, archive_ratio,
archive_entries, archive_nested, timeout, out_of_memory, crashed.
"""

from __future__ import annotations

from schemas.errors import Rejected


class ParseRejected(Rejected):
    """This file can't be parsed within its limits, however often it is tried."""
