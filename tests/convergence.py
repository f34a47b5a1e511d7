"""What must hold of an index once everything is ingested, whatever happened on the way."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.documents import DocumentChange
from tests.histories import expected_documents
from tests.stacks import IngestStack


def assert_index_is_the_fold(stack: IngestStack, now_ms: int, changes: Sequence[DocumentChange]) -> None:
    """One manifest a live document, covering its text; rows exactly those of the manifests."""
    expected = expected_documents(changes, now_ms)
    log = stack.log()
    live = log.live(now_ms)
    assert set(live) == set(expected)
    for key, manifest in live.items():
        assert manifest.text.strip() == expected[key].text.strip()
        assert log.states[key] == expected[key].state
        covered = "".join(manifest.passages())
        assert "".join(covered.split()) == "".join(manifest.text.split())
    assert stack.rows() == log.live_rows(now_ms)


def assert_every_offset_has_one_outcome(stack: IngestStack, published: int) -> None:
    """As the independent reader sees it: markers tile, no offset twice, none left out."""
    log = stack.log()
    offsets = [(p, offset) for p in log.markers for offset, _ in log.outcomes(p)]
    assert len(offsets) == len(set(offsets)) == published
