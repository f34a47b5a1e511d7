"""The journal: every accepted change event, on disk before the in-process broker has it.

That broker forgets everything with its process. The journal is replayed at start, in order, through the ordinary
path: the same events get the same offsets, so rows get the same ids, and the embedding cache makes it cost no embeddings.

A frame is: length and CRC-32 of what follows (two little-endian u32), then the header's length (u32), the header
(JSON) and the value.
A torn frame at the end (the process died while writing; nobody was told that it was accepted) is cut off, and so are zeros,
which a power cut may leave there. A write that fails is taken back at once: what follows it must not count as its rest.
"""

from __future__ import annotations

import os
import struct
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import orjson
import structlog

from connectors.kafka import OutRecord
from schemas.errors import DataLoss, Fatal, Misconfigured, Retryable

_FRAME: Final = struct.Struct("<II")
_HEADER: Final = struct.Struct("<I")
MAX_FRAME_BYTES: Final = 256 * 1024 * 1024

log = structlog.get_logger(__name__)


class Journal:
    """An append-only file. One process at a time (the data directory's lock sees to it); thread-safe."""

    def __init__(self, path: Path, partitions: int) -> None:
        self._path = path
        self._partitions = partitions
        self._lock = threading.Lock()
        self._file: int | None = None
        self._end = 0
        self.records = 0

    def open(self) -> None:
        """Open for appending; cut off a torn end. Raises: DataLoss for damage before the end, Misconfigured."""
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._check_partitions()
        end, self.records = self._measure()
        size = self._path.stat().st_size if self._path.exists() else 0
        if end < size:
            log.warning("journal ends in a torn record, which nobody was told was accepted: cut off", bytes=size - end)
            os.truncate(self._path, end)
        self._file, self._end = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644), end

    def append(self, records: Sequence[OutRecord]) -> None:
        """Write `records` (each with its partition and timestamp) and wait for the disk. All or, after a crash, a prefix.

        Raises:
            Retryable: they can't be written now, and none was.
            Fatal: they can't be written and not be taken back; nothing is appended any more.
        """
        with self._lock:
            if self._file is None:
                msg = f"the journal {self._path} is not open"
                raise Fatal(msg)
            frames = b"".join(_encode(record) for record in records)
            try:
                _write_all(self._file, frames)
                os.fsync(self._file)
            except OSError as exc:
                self._take_back(exc)
                msg = f"the journal {self._path} can't be written: {exc.strerror}; free some space and send it again"
                raise Retryable(msg) from exc
            self._end += len(frames)
            self.records += len(records)

    def replay(self) -> Iterator[OutRecord]:
        """Every record up to the end at the time of the call, in order."""
        if not self._path.exists():
            return
        end = self._path.stat().st_size
        with self._path.open("rb") as file:
            while file.tell() < end and (payload := _read_frame(file)) is not None:
                yield _decode(payload)

    def close(self) -> None:
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _take_back(self, cause: OSError) -> None:
        """Half a frame would take what is appended after it for its other half."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._end)
            os.fsync(self._file)
        except OSError as exc:
            os.close(self._file)
            self._file = None
            msg = f"the journal {self._path} ends in half a record ({cause.strerror}), which can't be cut off: {exc.strerror}"
            raise Fatal(msg) from exc

    def _check_partitions(self) -> None:
        """Another number of partitions would give other offsets to the same events."""
        note = self._path.with_suffix(".json")
        if not note.exists():
            note.write_bytes(orjson.dumps({"partitions": self._partitions}))
        made_with = orjson.loads(note.read_bytes())["partitions"]
        if made_with != self._partitions:
            msg = (
                f"the journal {self._path} was made with {made_with} partitions; RAG_KAFKA__PARTITIONS is {self._partitions}. "
                f"Set it back to {made_with}, or start in another RAG_DATA_DIR and publish again"
            )
            raise Misconfigured(msg)

    def _measure(self) -> tuple[int, int]:
        """(bytes of whole frames, their number). Raises: DataLoss, when damage is followed by more than a torn end."""
        end = records = 0
        if not self._path.exists():
            return 0, 0
        with self._path.open("rb") as file:
            while _read_frame(file) is not None:
                end, records = file.tell(), records + 1
            rest = self._path.stat().st_size - end
            file.seek(end)
            if _FRAME.size <= rest and _is_damage(file, rest):
                msg = f"the journal {self._path} is damaged at byte {end}, {rest} bytes before its end: restore it from a copy"
                raise DataLoss(msg)
        return end, records


def _encode(record: OutRecord) -> bytes:
    header = orjson.dumps(
        {
            "topic": record.topic,
            "partition": record.partition,
            "timestamp_ms": record.timestamp_ms,
            "key": record.key.hex() if record.key is not None else None,
            "null": record.value is None,
            "headers": [(name, value.hex()) for name, value in record.headers],
        }
    )
    payload = _HEADER.pack(len(header)) + header + (record.value or b"")
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _decode(payload: bytes) -> OutRecord:
    (length,) = _HEADER.unpack_from(payload)
    header = orjson.loads(payload[_HEADER.size : _HEADER.size + length])
    return OutRecord(
        topic=header["topic"],
        key=bytes.fromhex(header["key"]) if header["key"] is not None else None,
        value=None if header["null"] else payload[_HEADER.size + length :],
        partition=header["partition"],
        headers=tuple((name, bytes.fromhex(value)) for name, value in header["headers"]),
        timestamp_ms=header["timestamp_ms"],
    )


def _write_all(file: int, raw: bytes) -> None:
    left = memoryview(raw)
    while left:
        left = left[os.write(file, left) :]


def _is_damage(file: BinaryIO, rest: int) -> bool:
    """Whether what lies behind the last whole frame is more than one torn frame and not just zeros."""
    head = file.read(_FRAME.size)
    if _FRAME.unpack(head)[0] + _FRAME.size >= rest:
        return False
    return any(head) or any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


def _read_frame(file: BinaryIO) -> bytes | None:
    """The next frame's payload; None at the end, torn or not."""
    head = file.read(_FRAME.size)
    if len(head) < _FRAME.size:
        return None
    length, checksum = _FRAME.unpack(head)
    if not _HEADER.size <= length <= MAX_FRAME_BYTES:
        return None
    payload = file.read(length)
    return payload if len(payload) == length and zlib.crc32(payload) == checksum else None
