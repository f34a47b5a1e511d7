"""The canary's documents: in every partition, for nobody's eyes, ordered as their index is, with texts of their own."""

from __future__ import annotations

import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.kafka import OutRecord, Record, partition_for_key
from connectors.keyword.analysis import terms_of
from flows.ingest.events import Event, decode
from query_api.canary.documents import change_of, keys_of, word_of
from schemas.index import DocKey
from schemas.settings import IndexSettings

KEY = DocKey("docs", "ragstream-canary/x/0")


@given(partitions=st.integers(1, 24), per_partition=st.integers(1, 6))
def test_every_partition_has_as_many_and_they_take_turns(partitions: int, per_partition: int) -> None:
    """The lag of a partition that no canary flies through would not be measured."""
    keys = keys_of("docs", "worker", partitions, per_partition)
    places = [partition_for_key(key.doc_id.encode(), partitions) for key in keys]
    assert Counter(places) == dict.fromkeys(range(partitions), per_partition)
    assert places[:partitions] == list(range(partitions))
    assert len(set(keys)) == len(keys)


def test_two_workers_share_no_document() -> None:
    """One's newer version would pass for the other's."""
    assert not {*keys_of("docs", "one", 4, 4)} & {*keys_of("docs", "two", 4, 4)}


@given(version=st.integers(0, 2**53 - 1))
def test_a_word_is_one_term_of_its_own(version: int) -> None:
    """Found by itself, whole: no stemmer cuts it, and no other version has it."""
    word = word_of(KEY, version)
    assert terms_of(word) == [word]
    assert word != word_of(KEY, version + 1)
    assert not set(word) & set("aeiou")


@pytest.mark.parametrize("versions", ["timestamp", "producer"])
def test_ingest_takes_it_whatever_orders_the_index(versions: str) -> None:
    """Its version is the event's, and nobody but the operator may read it."""
    settings = IndexSettings.model_validate({"versions": versions})
    now_ms = time.time_ns() // 1_000_000
    change = change_of(KEY, now_ms, settings)
    record = OutRecord("rag.documents", KEY.doc_id.encode(), change.to_bytes())
    read = Record(record.topic, 0, 0, now_ms, record.key, record.value)
    event = decode(read, {"docs": settings})
    assert isinstance(event, Event)
    assert (event.version, event.change.acl) == (now_ms, ())
