"""What every encoder promises."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.embedding import Embedder

CARDS = "You can block your card in the app under Cards, and unblock it again when you find it."
FEES = "A replacement card costs 4.50 euros; the fee is taken from your account."
WEATHER = "Tomorrow heavy rain moves in from the west with gusts of wind on the coast."
TEXTS = [CARDS, "", "short", FEES, WEATHER, CARDS * 5, "取消您的卡", "x" * 500, CARDS]

shared_fixture = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def test_rows_are_float32_of_length_one(embedder: Embedder) -> None:
    """One row a text, float32, normalised; an empty text too."""
    matrix = embedder.encode(TEXTS)
    assert matrix.shape == (len(TEXTS), embedder.dimension)
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(matrix, axis=1), 1, atol=1e-5)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    """An empty list is fine."""
    assert embedder.encode([]).shape == (0, embedder.dimension)


@shared_fixture
@given(order=st.permutations(range(len(TEXTS))))
def test_order_is_kept(embedder: Embedder, order: list[int]) -> None:
    """Whatever order the texts come in, each row belongs to its text."""
    straight = embedder.encode(TEXTS)
    mixed = embedder.encode([TEXTS[position] for position in order])
    assert np.min(np.sum(mixed * straight[order], axis=1)) > 0.999


def test_known_ids_change_no_vector(embedder: Embedder) -> None:
    """Handed back to the encoder, of all texts or of some, they only save the tokenizer's work."""
    expected = embedder.encode(TEXTS)
    ids = embedder.token_ids(TEXTS) if embedder.has_joinable_ids else [None] * len(TEXTS)
    some = [known if number % 2 else None for number, known in enumerate(ids)]
    for known in (ids, some):
        assert np.min(np.sum(embedder.encode(TEXTS, known) * expected, axis=1)) > 0.99999
    if embedder.has_joinable_ids:
        assert [len(known or ()) for known in ids] == embedder.count_tokens(TEXTS)


@shared_fixture
@given(texts=st.lists(st.text(st.characters(exclude_categories=[]), max_size=40), min_size=1, max_size=5))
def test_any_text_has_a_vector(embedder: Embedder, texts: list[str]) -> None:
    """Lone surrogates, control characters, nothing at all: still a vector of length 1, and a count."""
    np.testing.assert_allclose(np.linalg.norm(embedder.encode(texts), axis=1), 1, atol=1e-5)
    assert len(embedder.count_tokens(texts)) == len(texts)


def test_near_texts_are_nearer(embedder: Embedder) -> None:
    """Texts about the same are nearer to each other than to another subject."""
    cards, fees, weather = embedder.encode([CARDS, FEES, WEATHER])
    assert cards @ fees > cards @ weather


def test_question_finds_its_passage(embedder: Embedder) -> None:
    """A question lies in the same space as the passages."""
    question = embedder.encode_query("How can I block my card in the app?")
    assert question.shape == (embedder.dimension,)
    assert np.argmax(embedder.encode([WEATHER, CARDS, FEES]) @ question) == 1


def test_questions_together_are_as_each_alone(embedder: Embedder) -> None:
    """Whatever company a question has in a batch, short or long, changes its vector by rounding only."""
    questions = ["PIN?", "How can I block my card in the app?", " ".join(["fees"] * 150), "PIN?", "Where is it?"]
    together = embedder.encode_queries(questions)
    alone = np.stack([embedder.encode_query(question) for question in questions])
    assert together.shape == (len(questions), embedder.dimension)
    assert np.min(np.sum(together * alone, axis=1)) > 0.999
    assert embedder.encode_queries([]).shape == (0, embedder.dimension)


def test_what_is_beyond_the_window_is_ignored(embedder: Embedder) -> None:
    """`max_tokens` is exactly what is used: one more word makes no difference, one fewer does."""
    under_text = " ".join(["card"] * (embedder.max_tokens - 1))
    texts = [f"{under_text} rain", f"{under_text} rain snow", under_text]
    assert embedder.count_tokens(texts[:1]) == [embedder.max_tokens]
    full, over, under = embedder.encode(texts)
    assert full @ over > 0.99999
    assert full @ under < 0.99999


def test_counts_are_additive_over_words(embedder: Embedder) -> None:
    """Special tokens aren't counted: no tokens in nothing, and words add up."""
    assert embedder.count_tokens(["", "card", "card fee", "card fee card"]) == [0, 1, 2, 3]


def test_threads_may_share_it(embedder: Embedder) -> None:
    """Counting, encoding and questions from eight threads at once give what one thread gets."""
    expected = embedder.encode(TEXTS)
    counts = embedder.count_tokens(TEXTS)
    barrier = threading.Barrier(8)

    def work(number: int) -> None:
        barrier.wait()
        for _ in range(4):
            assert embedder.count_tokens(TEXTS) == counts
            if number % 2:
                assert np.min(np.sum(embedder.encode(TEXTS) * expected, axis=1)) > 0.999
            else:
                assert embedder.encode_query(CARDS) @ expected[0] > 0.999

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, number) for number in range(8)]:
            done.result()


def test_fingerprint_names_dimension_and_window(embedder: Embedder) -> None:
    """What makes vectors incomparable is in the fingerprint; what works on them isn't."""
    assert f":d{embedder.dimension}:t{embedder.max_tokens}" in embedder.fingerprint
    assert not {"torch", "openvino", "cpu", "bf16"} & set(embedder.fingerprint.replace("-", ":").split(":"))
