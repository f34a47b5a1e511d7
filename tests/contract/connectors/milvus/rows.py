"""Rows for the tests: small, different, and the same for the same number."""

from __future__ import annotations

import numpy as np

from connectors.milvus import Row
from connectors.milvus.port import Vector
from schemas.acl import PUBLIC, AllowList

DIMENSION = 8
NOW_MS = 1_800_000_000_000
TIMEOUT_S = 10.0


def row(number: int, *, vector: Vector | None = None, allow: AllowList = PUBLIC, expires_at_ms: int = 0, doc: str = "d") -> Row:
    return Row(f"{number:032x}", unit(number) if vector is None else vector, f"docs/{doc}", allow, expires_at_ms)


def unit(seed: int, dimension: int = DIMENSION) -> Vector:
    """A direction of its own for each seed."""
    made = np.random.default_rng(seed).normal(size=dimension).astype(np.float32)
    return (made / np.linalg.norm(made)).astype(np.float32)
