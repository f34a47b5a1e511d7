"""Cutting what is sent into requests' worth. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def packed(items: Iterable[T], size_of: Callable[[T], int], max_size: int, max_items: int | None = None) -> Iterator[list[T]]:
    """`items` in order, in lists of `max_size` together and `max_items` at most; what is larger comes by itself."""
    batch: list[T] = []
    held = 0
    for item in items:
        size = size_of(item)
        if batch and (held + size > max_size or len(batch) == max_items):
            yield batch
            batch, held = [], 0
        batch.append(item)
        held += size
    if batch:
        yield batch
