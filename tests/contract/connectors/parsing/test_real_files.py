"""Files from markitdown's own test set, where they are at hand: `RAG_TEST_DATA` names the folder that holds `documents`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.parsing import FileParser, ParseRejected
from schemas.settings import ParsingSettings
from tests.contract.connectors.parsing.files import CSV, DOCX, EPUB, HTML, IPYNB, PDF, PPTX, XLSX

MEDIA_TYPES = {
    ".docx": DOCX, ".pptx": PPTX, ".xlsx": XLSX, ".epub": EPUB, ".ipynb": IPYNB, ".pdf": PDF, ".html": HTML, ".csv": CSV,
}  # fmt: skip


def documents() -> list[Path]:
    folder = os.environ.get("RAG_TEST_DATA")
    found = sorted(Path(folder, "documents", "markitdown").glob("*.*")) if folder else []
    return [path for path in found if path.suffix in MEDIA_TYPES]


@pytest.fixture(scope="module")
def parser() -> Iterator[FileParser]:
    shared = FileParser(ParsingSettings())
    yield shared
    shared.close()


@pytest.mark.skipif(not documents(), reason="set RAG_TEST_DATA to the folder with documents/markitdown")
def test_real_files_give_text(parser: FileParser) -> None:
    """All but the scan come out as text, in seconds each."""
    rejected = {}
    for path in documents():
        try:
            parsed = parser.parse(path.read_bytes(), MEDIA_TYPES[path.suffix], timeout_s=30)
        except ParseRejected as exc:
            rejected[path.name] = exc.reason
        else:
            assert len(parsed.text) > 20
    assert rejected == {"MEDRPT-2024-PAT-3847_medical_report_scan.pdf": "empty"}
