"""Exact ranking of a few rows by cosine. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from connectors.milvus.port import Hit, Vector


def rank(query: Vector, row_ids: Sequence[str], doc_keys: Sequence[str], vectors: NDArray[np.float32], limit: int) -> list[Hit]:
    """The `limit` best of the rows, best first; equal scores in the order of their ids."""
    if not row_ids or limit < 1:
        return []
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
    # A vector of length 0 points nowhere: it is like nothing.
    scores = np.divide(vectors @ query, norms, out=np.zeros(len(row_ids), dtype=np.float32), where=norms > 0)
    best = np.lexsort((np.array(row_ids), -scores))[:limit]
    return [Hit(row_ids[place], doc_keys[place], float(scores[place])) for place in best]
