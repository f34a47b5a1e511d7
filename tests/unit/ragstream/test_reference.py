"""The pages made from the code are current."""

import pytest

from ragstream.reference import DOCS, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_current(name: str) -> None:
    """Otherwise: python -m ragstream.reference."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run: python -m ragstream.reference"
