"""What can be wrong with credentials.

Rejected
└── BadCredentials    they prove nothing; never a reason to go on as anonymous
Retryable
└── KeysUnavailable   the issuer's keys were never fetched: nobody can say whether the token is good
"""

from __future__ import annotations

from schemas.errors import Rejected, Retryable


class BadCredentials(Rejected):
    """Credentials were given and don't hold."""


class KeysUnavailable(Retryable):
    """Tokens can't be checked yet."""
