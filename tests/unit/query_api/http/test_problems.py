"""The table of errors in docs/http.md is the code's."""

from __future__ import annotations

import re
from pathlib import Path

from query_api.http.problems import KINDS

PAGE = Path(__file__).parents[4] / "docs" / "http.md"


def test_the_page_lists_every_code_with_its_status() -> None:
    """No code is missing, none is left over."""
    rows = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", PAGE.read_text(), re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code: kind.status for code, kind in KINDS.items()}
