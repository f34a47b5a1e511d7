"""Keys must land where every other Kafka client puts them, or two lanes would work on one document."""

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka.partitioner import partition_for_key

# What org.apache.kafka.common.utils.Utils.murmur2 gives (from UtilsTest of Apache Kafka), as signed 32-bit numbers.
JAVA_MURMUR2 = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("key", JAVA_MURMUR2, ids=lambda key: f"{len(key)}-characters")
@pytest.mark.parametrize("n", [1, 4, 7, 64])
def test_a_key_lands_where_java_puts_it(key: bytes, n: int) -> None:
    """`toPositive(murmur2(key)) % n` is what Java's default partitioner does."""
    assert partition_for_key(key, n) == (JAVA_MURMUR2[key] & 0x7FFFFFFF) % n


@given(st.binary(max_size=64), st.integers(min_value=1, max_value=200))
def test_a_key_lands_where_faust_puts_it(key: bytes, n: int) -> None:
    """aiokafka, so Faust, agrees for every key, the empty one too."""
    assert partition_for_key(key, n) == (murmur2(key) & 0x7FFFFFFF) % n
