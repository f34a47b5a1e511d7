"""The encoder without a model."""

import numpy as np

from connectors.embedding import HashingEmbedder


def test_is_the_same_in_every_process() -> None:
    """Vectors depend on nothing but the text: a known text has known features."""
    vector = HashingEmbedder(dimension=16).encode(["block card"])[0]
    np.testing.assert_array_equal(np.nonzero(vector)[0], [0, 3, 6])


def test_shared_words_make_near() -> None:
    """More shared words are nearer; another form of a word is nearer than another word."""
    embedder = HashingEmbedder()
    base, same, form, other = embedder.encode(["block my card", "card block my", "blocking my cards", "rain in spain"])
    assert base @ same > 0.99999
    assert base @ form > base @ other


def test_punctuation_alone_has_a_vector() -> None:
    """Texts without a word, too, differ from each other."""
    dots, dashes = HashingEmbedder().encode(["...", "---"])
    assert dots @ dashes < 0.99


def test_dimension_is_part_of_the_fingerprint() -> None:
    """Vectors of two dimensions never meet."""
    assert HashingEmbedder(64).fingerprint != HashingEmbedder(128).fingerprint
