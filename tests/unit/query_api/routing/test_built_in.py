"""What comes along, with the real encoder: small talk is kept from being looked up, questions never are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from connectors.embedding import Embedder, HashingEmbedder, MemoryCache, create_embedder
from connectors.embedding.port import Matrix
from query_api.routing import Router, load_router, question_vectors
from schemas.settings import EmbeddingSettings, Settings

TALK = [
    "Hello there",
    "thank you so much!",
    "Goodbye, have a nice evening",
    "who are you?",
    "What can you do?",
    "how are you today",
    "tell me a joke please",
]
QUESTIONS = [
    "Hi, how do I freeze my card?",
    "Hello! My transfer has not arrived.",
    "Thanks. And how long does the delivery take?",
    "Good morning, who approves my expenses?",
    "freeze card",
    "What is your refund policy?",
    "How old must I be to open an account?",
    "Who founded the company?",
    "How can I kill a Python process?",
    "What does HNSW mean?",
    "Vitamin D lowers the risk of a cold",
    "Who are you allowed to share my data with?",
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedder]:
    """The encoder that users have."""
    embedder = create_embedder(EmbeddingSettings(backend="torch", device="cpu"), tmp_path_factory.mktemp("model"))
    yield embedder
    embedder.close()


@pytest.fixture(scope="module")
def router(embedder: Embedder) -> Router:
    """The routes that come along."""
    return load_router(Settings(), embedder, MemoryCache(1 << 24))


@pytest.mark.parametrize("question", TALK)
def test_small_talk_is_not_looked_up(router: Router, embedder: Embedder, question: str) -> None:
    """It gets the reply, which promises nothing."""
    decision = router.decide(question, embedder.encode_query(question), ())
    assert (decision.route.name, decision.route.indexes) == ("small-talk", ())
    assert decision.reply


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_looked_up(router: Router, embedder: Embedder, question: str) -> None:
    """Also behind a greeting, also when it speaks of the one who is asked."""
    decision = router.decide(question, embedder.encode_query(question), ())
    assert (decision.route.name, decision.route.indexes, decision.reply) == ("all", ("docs",), None)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_looked_up_without_a_model_too(question: str) -> None:
    """The hashing encoder knows no meaning; the rule on words still holds."""
    embedder = HashingEmbedder()
    router = load_router(Settings(), embedder, MemoryCache(1 << 24))
    assert router.decide(question, embedder.encode_query(question), ()).reply is None


def test_routes_of_ones_own_are_taken(tmp_path: Path, embedder: Embedder) -> None:
    """Two indexes, told apart by examples that do not hold the question."""
    file = tmp_path / "routes.yaml"
    file.write_text("""
routes:
  cards:
    indexes: [docs]
    examples: ["How do I freeze my card?", My card was stolen, "What does a new card cost?"]
  people:
    indexes: [hr]
    examples: ["How many days of holiday do I have?", "Who approves sick leave?"]
""")
    settings = Settings.model_validate({"query": {"routes_file": file}, "indexes": {"docs": {}, "hr": {}}})
    router = load_router(settings, embedder, MemoryCache(1 << 24))
    for question, indexes in {"How can I block a stolen card?": ("docs",), "How much holiday do I get?": ("hr",)}.items():
        assert router.decide(question, embedder.encode_query(question), ()).route.indexes == indexes


class Counting(HashingEmbedder):
    """Counts the questions it embeds."""

    embedded = 0

    def encode_queries(self, texts: Sequence[str]) -> Matrix:
        self.embedded += len(texts)
        return super().encode_queries(texts)


def test_examples_are_embedded_once() -> None:
    """A second start finds all vectors in the cache, and they are the same."""
    embedder, cache = Counting(), MemoryCache(1 << 24)
    first = question_vectors(["a b", "c d", "a b"], embedder, cache)
    assert embedder.embedded == 2
    again = question_vectors(["c d", "a b", "e f"], embedder, cache)
    assert embedder.embedded == 3
    np.testing.assert_allclose(first["a b"], again["a b"])
    np.testing.assert_allclose(again["e f"], embedder.encode_query("e f"))
