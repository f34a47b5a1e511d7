"""How metadata is laid out for filters: ordered keys by name, type and value. Pure.

The keys find every document that may match and some more: long texts are cut short, and bounds are taken in. Whether a document
does match, `schemas.filters.matches` decides on its manifest.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from query_api.view.tables import fingerprint
from schemas.filters import Filter, OneOf, Range

MAX_TEXT_BYTES: Final = 400
"""Of a value in a key: LMDB's keys are 511 bytes at most."""

_NUMBER: Final = struct.Struct(">Q")
_DOUBLE: Final = struct.Struct(">d")
_SIGN: Final = 1 << 63
_ALL_BITS: Final = (1 << 64) - 1
_END: Final = b"\x00"
"""Ends a text: what goes on sorts behind it."""


class Span(NamedTuple):
    """Keys from `first` on, as long as they are not beyond those that begin with `last`."""

    first: bytes
    last: bytes


def value_keys(metadata: Mapping[str, object]) -> list[bytes]:
    """The key of each value, without the document's part; each once."""
    keys: dict[bytes, None] = {}
    for name, value in metadata.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            key = _key(name, item)
            if key is not None:
                keys[key] = None
    return list(keys)


def spans(name: str, wanted: Filter) -> Iterator[Span]:
    """Where in the table the values lie that `wanted` holds for."""
    if isinstance(wanted, Range):
        yield _between(name, wanted)
        return
    for value in wanted.values if isinstance(wanted, OneOf) else (wanted,):
        key = _key(name, value)
        if key is not None:
            yield Span(key, key)


def _between(name: str, wanted: Range) -> Span:
    low = wanted.gte if wanted.gte is not None else wanted.gt
    high = wanted.lte if wanted.lte is not None else wanted.lt
    of_type = _prefix(name, b"s" if isinstance(low if low is not None else high, str) else b"n")
    first = _key(name, low) if low is not None else of_type
    last = _key(name, high) if high is not None else of_type
    return Span(first or of_type, last or of_type)


def _key(name: str, value: object) -> bytes | None:
    if isinstance(value, bool):
        return _prefix(name, b"b") + (b"\x01" if value else b"\x00")
    if isinstance(value, int | float):
        return _prefix(name, b"n") + _ordered(float(value))
    if isinstance(value, str):
        return _prefix(name, b"s") + value.encode(errors="surrogatepass")[:MAX_TEXT_BYTES] + _END
    return None


def _prefix(name: str, kind: bytes) -> bytes:
    return fingerprint(f"metadata:{name}") + kind


def _ordered(number: float) -> bytes:
    """Eight bytes that sort as the numbers do; 0 and -0 are the same."""
    (bits,) = _NUMBER.unpack(_DOUBLE.pack(number + 0.0))
    return _NUMBER.pack(bits ^ (_ALL_BITS if bits & _SIGN else _SIGN))
