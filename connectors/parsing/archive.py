"""Checks a ZIP archive (DOCX, PPTX, XLSX, EPUB) by unpacking it into nothing, before a parser unpacks it into memory."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import NamedTuple

from connectors.parsing.errors import ParseRejected

_READ_SIZE = 64 * 1024
_ENCRYPTED = 0x1
# Below this size an archive may be as dense as it likes: small XML files often are.
_RATIO_FLOOR = 4 * 1024 * 1024
_ARCHIVE_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")
_LONGEST_START = max(map(len, _ARCHIVE_STARTS))
# Office keeps a chart's workbook and attached files here; text is never taken from them.
_ATTACHMENTS = ("word/embeddings/", "ppt/embeddings/", "xl/embeddings/", "word/fonts/", "ppt/fonts/")


class ArchiveLimits(NamedTuple):
    """What an archive may hold.

    Attributes:
        ratio: unpacked size over the archive's own, for archives that unpack to more than 4 MiB.
    """

    unpacked_bytes: int
    ratio: int
    entries: int


class _Budget(NamedTuple):
    limits: ArchiveLimits
    archive_bytes: int

    @property
    def by_ratio(self) -> int:
        return max(_RATIO_FLOOR, self.limits.ratio * self.archive_bytes)

    @property
    def allowed(self) -> int:
        return min(self.limits.unpacked_bytes, self.by_ratio)

    def exceeded(self, what: str) -> ParseRejected:
        reason = "archive_ratio" if self.by_ratio < self.limits.unpacked_bytes else "archive_too_large"
        most = f"{self.limits.unpacked_bytes} bytes and {self.limits.ratio} times its size"
        return ParseRejected(reason, f"an archive of {self.archive_bytes} bytes {what}; at most {most}")


def check_archive(data: bytes, limits: ArchiveLimits) -> None:
    """Return if the archive is sound and within its limits, by what it declares and by what really comes out.

    Memory stays bounded by the archive's own size, time by `unpacked_bytes`.

    Raises:
        ParseRejected: malformed, encrypted, archive_too_large, archive_ratio, archive_entries or archive_nested.
    """
    budget = _Budget(limits, len(data))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_declared(archive.infolist(), budget)
            unpacked = 0
            for entry in archive.infolist():
                unpacked = _unpack(archive, entry, unpacked, budget)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError, OverflowError) as exc:
        detail = f"not a sound ZIP archive ({type(exc).__name__}); send the file as its program saved it"
        msg = "malformed"
        raise ParseRejected(msg, detail) from exc


def _check_declared(entries: list[zipfile.ZipInfo], budget: _Budget) -> None:
    most = budget.limits.entries
    if len(entries) > most:
        msg = "archive_entries"
        raise ParseRejected(msg, f"{len(entries)} entries; at most {most} are allowed")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        msg = "encrypted"
        raise ParseRejected(msg, "the file is protected by a password; send it without")
    declared = sum(entry.file_size for entry in entries)
    if declared > budget.allowed:
        msg = f"declares {declared} bytes"
        raise budget.exceeded(msg)


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, before: int, budget: _Budget) -> int:
    """Unpack an entry into nothing and return the bytes unpacked so far."""
    unpacked = before
    with archive.open(entry) as stream:
        block = stream.read(_LONGEST_START)
        if block.startswith(_ARCHIVE_STARTS) and not entry.filename.startswith(_ATTACHMENTS):
            msg = "archive_nested"
            raise ParseRejected(msg, "the file holds another archive; send that as a document of its own")
        while block:
            unpacked += len(block)
            if unpacked > budget.allowed:
                msg = f"unpacks to more than {budget.allowed} bytes"
                raise budget.exceeded(msg)
            block = stream.read(_READ_SIZE)
    return unpacked
