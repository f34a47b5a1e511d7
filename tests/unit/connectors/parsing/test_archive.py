"""What is refused before an archive reaches a parser, and what passes."""

import io
import random
import zipfile

import pytest

from connectors.parsing.archive import ArchiveLimits, check_archive
from connectors.parsing.errors import ParseRejected

MIB = 1024 * 1024
LIMITS = ArchiveLimits(unpacked_bytes=64 * MIB, ratio=100, entries=20)


def archive_of(entries: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return buffer.getvalue()


def reason_for(data: bytes, limits: ArchiveLimits = LIMITS) -> str:
    with pytest.raises(ParseRejected) as caught:
        check_archive(data, limits)
    return caught.value.reason


def test_an_ordinary_archive_passes() -> None:
    """Text that packs well, in a file of ordinary size, is no bomb."""
    check_archive(archive_of({"word/document.xml": b"<w:p>" * 500_000, "a.png": random.Random(1).randbytes(1000)}), LIMITS)


def test_a_declared_bomb_is_refused() -> None:
    """A small archive that declares a hundred times its size is refused by its ratio."""
    assert reason_for(archive_of({"a": b"0" * (16 * MIB)})) == "archive_ratio"


def test_a_large_archive_is_refused_whatever_its_ratio() -> None:
    """Incompressible content is bounded too."""
    assert (
        reason_for(archive_of({"a": random.Random(2).randbytes(MIB)}), LIMITS._replace(unpacked_bytes=MIB // 2))
        == "archive_too_large"
    )


def test_a_bomb_that_lies_about_its_size_is_refused() -> None:
    """What really comes out counts, not what the directory says."""
    honest = archive_of({"a": b"0" * (16 * MIB)})
    size = (16 * MIB).to_bytes(4, "little")
    assert reason_for(honest.replace(size, (1000).to_bytes(4, "little"))) in {"malformed", "archive_ratio"}


def test_many_entries_are_refused() -> None:
    """A directory of endless entries is no document."""
    assert reason_for(archive_of({str(i): b"x" for i in range(21)})) == "archive_entries"


@pytest.mark.parametrize("inner", [archive_of({"a": b"x"}), b"\x1f\x8b\x08 gzip", b"7z\xbc\xaf'\x1c"], ids=["zip", "gzip", "7z"])
def test_an_archive_in_an_archive_is_refused(inner: bytes) -> None:
    """A bomb may be wrapped; documents needn't be."""
    assert reason_for(archive_of({"word/document.xml": b"<x/>", "word/media/a.xml": inner})) == "archive_nested"


def test_a_charts_workbook_passes() -> None:
    """Office keeps the workbook behind a chart in the file; text is never taken from it."""
    check_archive(archive_of({"ppt/slide.xml": b"<x/>", "ppt/embeddings/sheet1.xlsx": archive_of({"a": b"x"})}), LIMITS)


def test_a_protected_archive_is_refused() -> None:
    """A password is named as the cause."""
    data = bytearray(archive_of({"a": b"x"}))
    data[data.index(b"PK\x01\x02") + 8] |= 1
    assert reason_for(bytes(data)) == "encrypted"


@pytest.mark.parametrize("damage", ["not a zip", "cut", "flipped"])
def test_a_damaged_archive_is_refused(damage: str) -> None:
    """Whatever the damage, it is the file's fault and said so."""
    sound = archive_of({"a": random.Random(3).randbytes(5000)})
    damaged = {"not a zip": b"hello", "cut": sound[:-30], "flipped": sound[:2000] + b"XXXX" + sound[2004:]}
    assert reason_for(damaged[damage]) == "malformed"
