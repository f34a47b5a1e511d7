"""What the demo checks of everything that it shows."""

from __future__ import annotations

from schemas.errors import RagError


class BrokenPromiseError(RagError):
    """The demo saw something that must not be."""

    exit_code = 70


def promise(holds: bool, what: str) -> None:
    """Raises: BrokenPromiseError."""
    if not holds:
        msg = f"the demo saw a broken promise: {what}. Please report this with the output above"
        raise BrokenPromiseError(msg)
