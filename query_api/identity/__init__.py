"""Who asks: API keys and signed tokens to principals and scopes. Nothing a caller writes in a request adds to them."""

from query_api.identity.authenticator import Authenticator
from query_api.identity.errors import BadCredentials, KeysUnavailable
from query_api.identity.identity import ANONYMOUS, Identity, Scopes

__all__ = ["ANONYMOUS", "Authenticator", "BadCredentials", "Identity", "KeysUnavailable", "Scopes"]
