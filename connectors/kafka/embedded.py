"""librdkafka's in-process broker, driven through ctypes: the log of the embedded mode, reachable by TCP on 127.0.0.1.

It keeps 5 MiB and 100,000 batches a partition in memory (see `flow_control`), forgets everything when it is closed,
and neither fences writers nor hides open transactions. The interface is marked experimental: confluent-kafka is pinned.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import confluent_kafka

from schemas.errors import Fatal

_PRODUCER: Final = 0
_ERROR_TEXT_BYTES: Final = 512
_BROKERS: Final = 1


class EmbeddedBroker:
    """One broker in this process. `start` once, `close` once; the topics that nothing created have four partitions."""

    def __init__(self) -> None:
        self._handle: int | None = None
        self._cluster: int | None = None
        self._bootstrap = ""

    def start(self, topics: Mapping[str, int]) -> str:
        """Start it with `topics` (name to number of partitions) and return `host:port`."""
        library = _library()
        text = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        config = library.rd_kafka_conf_new()
        # This handle only carries the broker; as a client it would warn that it knows no servers.
        library.rd_kafka_conf_set(config, b"log_level", b"0", text, _ERROR_TEXT_BYTES)
        self._handle = library.rd_kafka_new(_PRODUCER, config, text, _ERROR_TEXT_BYTES)
        if not self._handle:
            msg = f"the embedded broker did not start: {text.value.decode(errors='replace')}"
            raise Fatal(msg)
        self._cluster = library.rd_kafka_mock_cluster_new(self._handle, _BROKERS)
        if not self._cluster:
            msg = "the embedded broker did not start: librdkafka gave no cluster (no free port on 127.0.0.1?)"
            raise Fatal(msg)
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        for name, partitions in topics.items():
            self.create_topic(name, partitions)
        self._bootstrap = library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        return self._bootstrap

    @property
    def bootstrap(self) -> str:
        """`host:port` of the running broker."""
        return self._bootstrap

    def create_topic(self, name: str, partitions: int) -> None:
        """Add a topic. Creating one that exists is an error of the caller. Raises: Fatal."""
        code = _library().rd_kafka_mock_topic_create(self._running(), name.encode(), partitions, _BROKERS)
        if code:
            msg = f"the embedded broker did not create {name} with {partitions} partitions: {_text(code)}"
            raise Fatal(msg)

    def fail_requests(self, api_key: int, errors: Sequence[int]) -> None:
        """Answer the next requests of a kind with these error codes: for tests and drills."""
        codes = (ctypes.c_int * len(errors))(*errors)
        _library().rd_kafka_mock_push_request_errors_array(self._running(), api_key, len(errors), codes)

    def set_down(self, *, is_down: bool) -> None:
        """Drop all connections and refuse new ones, or accept them again; the log stays: for tests and drills."""
        library = _library()
        change = library.rd_kafka_mock_broker_set_down if is_down else library.rd_kafka_mock_broker_set_up
        change(self._running(), _BROKERS)

    def close(self) -> None:
        """End the broker; everything in it is gone. Never raises, and may be called again."""
        library = _library()
        if self._cluster:
            library.rd_kafka_mock_cluster_destroy(self._cluster)
        if self._handle:
            library.rd_kafka_destroy(self._handle)
        self._cluster = self._handle = None

    def _running(self) -> int:
        if self._cluster is None:
            msg = "the embedded broker is not running: call start() first"
            raise Fatal(msg)
        return self._cluster


def _text(code: int) -> str:
    return str(_library().rd_kafka_err2str(code).decode())


@cache
def _library() -> ctypes.CDLL:
    """The very library that confluent-kafka has loaded, with the types of what is used here."""
    folder = Path(confluent_kafka.__file__).parent
    found = [*folder.parent.glob("confluent_kafka.libs/librdkafka*"), *folder.glob(".dylibs/librdkafka*")]
    if not found:
        msg = f"no librdkafka beside {folder}: install the confluent-kafka wheel, or set RAG_KAFKA__BOOTSTRAP_SERVERS"
        raise Fatal(msg)
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, ()),
        ("rd_kafka_conf_set", number, (pointer, text, text, text, ctypes.c_size_t)),
        ("rd_kafka_new", pointer, (number, pointer, text, ctypes.c_size_t)),
        ("rd_kafka_destroy", None, (pointer,)),
        ("rd_kafka_err2str", text, (number,)),
        ("rd_kafka_mock_cluster_new", pointer, (pointer, number)),
        ("rd_kafka_mock_cluster_destroy", None, (pointer,)),
        ("rd_kafka_mock_cluster_bootstraps", text, (pointer,)),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_topic_create", number, (pointer, text, number, number)),
        ("rd_kafka_mock_push_request_errors_array", None, (pointer, ctypes.c_int16, ctypes.c_size_t, pointer)),
        ("rd_kafka_mock_broker_set_down", number, (pointer, ctypes.c_int32)),
        ("rd_kafka_mock_broker_set_up", number, (pointer, ctypes.c_int32)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
