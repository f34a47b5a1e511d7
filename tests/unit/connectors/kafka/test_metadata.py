"""What the client tells of a log's ends is only taken where it is an offset."""

from contextlib import closing

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.link import KafkaLink
from connectors.kafka.metadata import Metadata, known_ends
from schemas.errors import Misconfigured, Retryable
from schemas.settings import KafkaSettings

REFUSED = KafkaError(KafkaError._AUTHENTICATION)
AWAY = KafkaException(KafkaError(KafkaError._TRANSPORT))


def test_an_end_that_is_no_offset_is_not_known() -> None:
    """-1001 is what the client says of a broker that hangs: nobody may believe to have read beyond it."""
    with pytest.raises(Retryable, match=r"partitions \[1\]"):
        known_ends("rag.documents", {0: 7, 1: -1001})


def test_an_empty_partition_ends_at_0() -> None:
    """An end of 0 is an end."""
    assert known_ends("rag.documents", {0: 0, 1: 12}) == {0: 0, 1: 12}


def test_a_refusal_counts_until_the_brokers_have_answered_once() -> None:
    """At first it is a setting to mend; later a broker that is starting again, and what was refused once explains nothing."""
    with closing(EmbeddedBroker()) as broker:
        link = KafkaLink(KafkaSettings(), broker.start({"t": 1}), embedded=True)
        with closing(Metadata(link)) as metadata:
            metadata._on_error(REFUSED)
            assert isinstance(metadata.failed(AWAY, "asking"), Misconfigured)
            metadata._on_error(REFUSED)
            assert metadata.ends("t", (0,), 10.0) == {0: 0}
            assert isinstance(metadata.failed(AWAY, "asking"), Retryable)
            metadata._on_error(REFUSED)
            assert isinstance(metadata.failed(AWAY, "asking"), Retryable)
