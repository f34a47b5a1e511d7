"""Several indexes: each with its own rule for documents without an ACL, searched together, and said where one can't be."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from connectors.milvus import Hit
from connectors.milvus.port import Vector
from schemas.acl import OPERATOR
from schemas.errors import Retryable
from schemas.index import DocKey
from schemas.queries import AnswerEvent
from schemas.settings import EmbeddingSettings, IndexSettings, QuerySettings, Settings
from tests.unit.query_api import world as worlds
from tests.unit.query_api.world import DIMENSION, Stores, World

QUESTION = "How many days of leave do I have?"


class Partly(Stores):
    """A store some of whose collections can't be searched."""

    away: frozenset[str] = frozenset()

    def search(
        self, collection: str, vector: Vector, limit: int, principals: Collection[str] | None, now_ms: int, timeout_s: float
    ) -> list[Hit]:
        if collection in self.away:
            raise Retryable(f"{collection} is not loaded")
        return super().search(collection, vector, limit, principals, now_ms, timeout_s)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Three indexes: documents without an ACL are the operator's in `docs` and `hr`, everyone's in `faq`."""

    def settings(data_dir: Path, query: QuerySettings, embedding: EmbeddingSettings) -> Settings:
        indexes = {"docs": IndexSettings(), "hr": IndexSettings(), "faq": IndexSettings(missing_acl="everyone")}
        return Settings(data_dir=data_dir, query=query, embedding=embedding, indexes=indexes)

    monkeypatch.setattr(worlds, "Settings", settings)
    monkeypatch.setattr(worlds, "Stores", Partly)
    made = World(tmp_path)
    for index in ("hr", "faq"):
        made.vectors.ensure(made.settings.collection(index), DIMENSION)
    for index in ("docs", "hr", "faq"):
        records = made.writer.upsert(DocKey(index, "leave"), 1, f"You have 28 days of leave, says {index}.", None)
        made.write_rows(records, ())
        made.publish(records)
    return made


def found(event: AnswerEvent) -> set[str]:
    assert event.explanation is not None
    return {candidate.index for candidate in event.explanation.candidates}


def test_each_index_has_its_own_rule_for_documents_without_an_acl(world: World) -> None:
    """Everyone sees the open index's, operators all; the same doc_id in three indexes is three documents."""
    assert found(world.ask(QUESTION, "user:ann")) == {"faq"}
    assert found(world.ask(QUESTION, OPERATOR)) == {"docs", "hr", "faq"}
    world.close()


def test_only_the_indexes_that_were_named_are_searched(world: World) -> None:
    """Whatever the others hold."""
    assert found(world.ask(QUESTION, OPERATOR, indexes=("hr", "docs"))) == {"hr", "docs"}
    assert world.ask(QUESTION, "user:ann", indexes=("hr",)).outcome == "unknown"
    world.close()


def test_an_index_that_cannot_be_searched_is_said(world: World) -> None:
    """Vectors of one index are away: keywords find it, the others answer as ever, the answer says it is incomplete."""
    assert isinstance(world.vectors, Partly)
    world.vectors.away = frozenset({world.settings.collection("hr")})
    event = world.ask(QUESTION, OPERATOR)
    assert (event.mode, event.degraded) == ("hybrid", ("vector_incomplete",))
    assert found(event) == {"docs", "hr", "faq"}
    assert world.ask(QUESTION, OPERATOR, indexes=("docs", "faq")).degraded == ()
    only = world.ask(QUESTION, OPERATOR, indexes=("hr",))
    assert (only.mode, only.degraded) == ("keyword", ("vector_unavailable",))
    world.close()
