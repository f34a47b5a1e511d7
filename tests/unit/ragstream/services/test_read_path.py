"""What a query process has done before anybody may ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.embedding import HashingEmbedder
from connectors.kafka import KafkaLink
from connectors.reranking import SharedWordsReranker
from ragstream.services import QueryService, Where
from schemas.errors import Misconfigured
from schemas.settings import HttpSettings, KafkaSettings, Settings

NOBODY = "127.0.0.1:1"


class Counted(SharedWordsReranker):
    """Counts how often it is loaded."""

    def __init__(self, problem: Misconfigured | None = None) -> None:
        self.loads = 0
        self._problem = problem

    def load(self) -> None:
        self.loads += 1
        if self._problem is not None:
            raise self._problem


def service(folder: Path) -> QueryService:
    settings = Settings(data_dir=folder, http=HttpSettings(port=0))
    where = Where(KafkaLink(KafkaSettings(), NOBODY), f"http://{NOBODY}")
    return QueryService(settings, where, embedder=HashingEmbedder(64))


def test_the_reranker_is_loaded_before_the_process_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No question waits for a model, and says that it did."""
    reranker = Counted()
    monkeypatch.setattr("query_api.retrieval.create_reranker", lambda _: reranker)
    made = service(tmp_path)
    try:
        assert reranker.loads == 1
    finally:
        made.close()


def test_a_reranker_that_can_t_be_had_ends_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of answering in the old order for ever."""
    monkeypatch.setattr("query_api.retrieval.create_reranker", lambda _: Counted(Misconfigured("no model")))
    with pytest.raises(Misconfigured, match="no model"):
        service(tmp_path)
