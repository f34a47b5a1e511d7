"""What Python's Kafka clients refuse to send and others send: header names that are no UTF-8."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

TIMEOUT_MS = 10_000
PRODUCER = 0
COPY = 0x2


def send_with_header(bootstrap: str, topic: str, partition: int, key: bytes, value: bytes, name: bytes) -> None:
    """Send one message whose only header has this very name; returns once Kafka has it."""
    kafka = ctypes.CDLL(str(_library()))
    for function in ("rd_kafka_conf_new", "rd_kafka_new"):
        getattr(kafka, function).restype = ctypes.c_void_p
    problem = ctypes.create_string_buffer(512)
    conf = ctypes.c_void_p(kafka.rd_kafka_conf_new())
    kafka.rd_kafka_conf_set(conf, b"bootstrap.servers", bootstrap.encode(), problem, ctypes.c_size_t(512))
    client = ctypes.c_void_p(kafka.rd_kafka_new(PRODUCER, conf, problem, ctypes.c_size_t(512)))
    assert client.value, problem.value
    try:
        sent = kafka.rd_kafka_producev(client, *_arguments(topic, partition, key, value, name))
        assert sent == 0, f"librdkafka's error {sent}"
        assert kafka.rd_kafka_flush(client, TIMEOUT_MS) == 0
    finally:
        kafka.rd_kafka_destroy(client)


def _arguments(topic: str, partition: int, key: bytes, value: bytes, name: bytes) -> list[object]:
    """`rd_kafka_vtype_t` and what follows each, to the end mark."""
    return [
        *(ctypes.c_int(1), ctypes.c_char_p(topic.encode())),
        *(ctypes.c_int(3), ctypes.c_int32(partition)),
        *(ctypes.c_int(4), ctypes.c_char_p(value), ctypes.c_size_t(len(value))),
        *(ctypes.c_int(5), ctypes.c_char_p(key), ctypes.c_size_t(len(key))),
        *(ctypes.c_int(7), ctypes.c_int(COPY)),
        *(ctypes.c_int(9), ctypes.c_char_p(name), ctypes.c_char_p(b"x"), ctypes.c_ssize_t(1)),
        ctypes.c_int(0),
    ]


def _library() -> Path:
    """The one that confluent-kafka comes with."""
    package = Path(confluent_kafka.__file__).parent
    found = [*package.parent.glob("confluent_kafka.libs/librdkafka*.so*"), *package.glob(".dylibs/librdkafka*.dylib")]
    assert found, f"no librdkafka beside {package}"
    return found[0]
