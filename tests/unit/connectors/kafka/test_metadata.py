"""What the client tells of a log's ends is only taken where it is an offset."""

import pytest

from connectors.kafka.metadata import known_ends
from schemas.errors import Retryable


def test_an_end_that_is_no_offset_is_not_known() -> None:
    """-1001 is what the client says of a broker that hangs: nobody may believe to have read beyond it."""
    with pytest.raises(Retryable, match=r"partitions \[1\]"):
        known_ends("rag.documents", {0: 7, 1: -1001})


def test_an_empty_partition_ends_at_0() -> None:
    """An end of 0 is an end."""
    assert known_ends("rag.documents", {0: 0, 1: 12}) == {0: 0, 1: 12}
