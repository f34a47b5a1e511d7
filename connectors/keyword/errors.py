"""What can go wrong with the keyword index.

Retryable
└── KeywordIndexDamaged   the files can't be read: opening the index again empties it, and its owner refills it
"""

from __future__ import annotations

from schemas.errors import Retryable


class KeywordIndexDamaged(Retryable):
    """The index on disk can't be read or written. Answers go on without it; a restart rebuilds it from the view."""
