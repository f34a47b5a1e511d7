"""The laws of chunking: what holds for any text, any tokenizer and any limits."""

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.chunking import Chunk, Chunker, ChunkLimits, Tokenizer
from schemas.settings import ChunkingSettings
from tests.unit.flows.chunking.tokenizers_for_tests import CharacterTokenizer, WordTokenizer

SMALL = ChunkLimits(low=5, target=12, high=20)
MARKDOWN, PLAIN = "text/markdown", "text/plain"

LINES = """\
# Title
## Part
Some words here, and more.
- item one
  - inner
1. first
```
    code()
| a | b |
|---|---|
---
> quoted

<div>
</div>
[ref]: http://x.y
Setext
===
名前は漢字です。次の文。
a b c d e f g h i j k l m n o p q r s t u v w x y z. Then? Yes! So it ends.
-
*"""
lines = st.sampled_from([*LINES.splitlines(), "", "x" * 150, "\t", "\x0b", "\u2028", "e\u0301\u200d"])
newlines = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])
documents = st.lists(st.tuples(lines, newlines).map("".join), max_size=40).map("".join) | st.text(max_size=400)
tokenizers = st.sampled_from([WordTokenizer, CharacterTokenizer])
media_types = st.sampled_from([MARKDOWN, PLAIN])


def chunk(text: str, media_type: str = MARKDOWN, limits: ChunkLimits = SMALL) -> list[Chunk]:
    return Chunker(WordTokenizer(), limits).chunk(text, media_type)


@settings(max_examples=300, deadline=None)
@given(documents, media_types, tokenizers)
def test_chunks_are_ordered_spans_that_cover_the_text(text: str, media_type: str, tokenizer: type[Tokenizer]) -> None:
    """Chunks are spans in order, don't overlap, and leave out nothing but whitespace."""
    done = 0
    for piece in Chunker(tokenizer(), SMALL).chunk(text, media_type):
        assert piece.start >= done
        assert not text[done : piece.start].strip()
        assert piece.text == text[piece.start : piece.end]
        assert piece.text == piece.text.strip() != ""
        assert piece.digest == hashlib.sha256(piece.text.encode()).hexdigest()[:32]
        done = piece.end
    assert not text[done:].strip()


@settings(max_examples=300, deadline=None)
@given(documents, media_types, tokenizers, st.integers(1, 30))
def test_no_chunk_exceeds_the_largest_size(text: str, media_type: str, tokenizer: type[Tokenizer], high: int) -> None:
    """The stated tokens are the tokenizer's own count of the chunk, and never above the limit."""
    counter = tokenizer()
    limits = ChunkLimits(min(5, high), min(12, high), high)
    for piece in Chunker(counter, limits).chunk(text, media_type):
        assert [piece.tokens] == counter.count([piece.text])
        assert piece.tokens <= high


@settings(max_examples=100, deadline=None)
@given(st.lists(documents, min_size=1, max_size=4), media_types)
def test_what_was_chunked_before_changes_nothing(texts: list[str], media_type: str) -> None:
    """A chunker's memory of earlier blocks, full or forgotten, never shows in its results."""
    used = Chunker(WordTokenizer(), SMALL)
    forgetful = Chunker(WordTokenizer(), SMALL, cached_blocks=2)
    for text in texts:
        assert used.chunk(text, media_type) == chunk(text, media_type) == forgetful.chunk(text, media_type)


def prose(generator: random.Random, words: int) -> str:
    return " ".join("".join(generator.choices("abcdefghijklmnop", k=generator.randint(2, 9))) for _ in range(words)) + "."


def article(generator: random.Random, blocks: int) -> list[str]:
    """Blocks of the kinds and sizes that real documentation has."""

    def block() -> str:
        kind = generator.random()
        if kind < 0.2:
            return "#" * generator.randint(1, 4) + " " + prose(generator, 3)
        if kind < 0.4:
            return "\n".join(f"- {prose(generator, generator.randint(2, 20))}" for _ in range(generator.randint(1, 6)))
        if kind < 0.5:
            return "```\n" + "\n".join(prose(generator, 6) for _ in range(generator.randint(1, 60))) + "\n```"
        return prose(generator, generator.randint(5, 90))

    return [block() for _ in range(blocks)]


@pytest.mark.parametrize("edit", ["change", "insert", "remove"])
def test_an_edit_changes_only_the_chunks_near_it(edit: str) -> None:
    """One edited block in a long document changes a few chunks beside it, however much comes after."""
    generator = random.Random(7)
    chunker = Chunker(WordTokenizer())
    changed_tokens = []
    for _ in range(25):
        blocks = article(generator, 120)
        before = {piece.digest for piece in chunker.chunk("\n\n".join(blocks), MARKDOWN)}
        at = generator.randrange(len(blocks))
        replacement = [] if edit == "remove" else [prose(generator, 20)]
        blocks[at : at + (edit != "insert")] = replacement
        after = chunker.chunk("\n\n".join(blocks), MARKDOWN)
        assert len(after) > 40
        changed_tokens.append(sum(piece.tokens for piece in after if piece.digest not in before))
    assert sum(changed_tokens) / len(changed_tokens) < 150  # a chunk or two
    assert max(changed_tokens) < 900


def test_a_change_inside_a_large_block_keeps_most_of_it() -> None:
    """A code block of many chunks is cut where its lines say, so that one new line changes one or two of them."""
    generator = random.Random(3)
    code = [f"    {prose(generator, 8)}" for _ in range(300)]
    chunker = Chunker(WordTokenizer())
    before = {piece.digest for piece in chunker.chunk("```\n" + "\n".join(code) + "\n```", MARKDOWN)}
    code.insert(20, "    a new line")
    after = chunker.chunk("```\n" + "\n".join(code) + "\n```", MARKDOWN)
    assert len(after) > 15
    assert sum(piece.digest not in before for piece in after) <= 3


def test_an_edit_counts_tokens_of_the_touched_block_only() -> None:
    """A revised document costs what its new blocks cost."""
    tokenizer = WordTokenizer()
    chunker = Chunker(tokenizer)
    blocks = article(random.Random(1), 100)
    chunker.chunk("\n\n".join(blocks), MARKDOWN)
    tokenizer.counted_chars = 0
    blocks[50] = "A new paragraph."
    chunker.chunk("\n\n".join(blocks), MARKDOWN)
    assert tokenizer.counted_chars == len("A new paragraph.")


def test_a_heading_stays_with_what_follows() -> None:
    """No chunk ends in a heading that has text below it."""
    text = "Words before it, ten of them, or even some more.\n\n## Fees\n\nA transfer costs one euro and twenty cents."
    assert [piece.text.splitlines()[0] for piece in chunk(text)] == [
        "Words before it, ten of them, or even some more.",
        "## Fees",
    ]


def test_small_sections_keep_their_own_text_together() -> None:
    """Neighbours of one section are joined sooner than neighbours across a heading."""
    text = "# A\n\none two three four five\n\nsix seven\n\n# B\n\nalpha beta gamma delta epsilon"
    assert [piece.text.splitlines()[0] for piece in chunk(text, limits=ChunkLimits(6, 12, 20))] == ["# A", "# B"]


def test_repeated_text_repeats_the_digest() -> None:
    """The same paragraph twice gives two chunks with one digest."""
    paragraph = "one two three four five six seven eight nine ten"
    first, second = chunk(f"{paragraph}\n\n{paragraph}")
    assert first.digest == second.digest
    assert first.start < second.start


def test_a_very_long_word_is_bounded_in_characters() -> None:
    """A tokenizer that takes a megabyte for one token doesn't make a chunk of a megabyte."""
    pieces = chunk("x" * 100_000, limits=ChunkLimits())
    assert max(len(piece.text) for piece in pieces) <= 240 * 16


@pytest.mark.parametrize(
    "text",
    [
        "> " * 20_000,
        "- " * 10_000,
        "[" * 50_000,
        "`" * 50_000,
        "\n" * 300_000 + "x",
        "|a" * 5_000 + "\n" + "|-" * 5_000,
        "~~~\n" * 10_001,
    ],
    ids=["quotes", "lists", "brackets", "backticks", "newlines", "columns", "fences"],
)
@pytest.mark.timeout(10)
def test_pathological_text_is_chunked_in_time(text: str) -> None:
    """Deep nesting and endless runs neither hang the chunker nor lose text."""
    covered = "".join(piece.text for piece in chunk(text, limits=ChunkLimits()))
    assert "".join(covered.split()) == "".join(text.split())


def test_the_fingerprint_follows_limits_and_tokenizer() -> None:
    """The same parts give the same fingerprint; other limits or another tokenizer give another."""
    fingerprints = {
        Chunker(WordTokenizer()).fingerprint,
        Chunker(WordTokenizer(), SMALL).fingerprint,
        Chunker(CharacterTokenizer()).fingerprint,
    }
    assert len(fingerprints) == 3
    assert Chunker(WordTokenizer()).fingerprint in fingerprints


def test_nothing_gives_no_chunks() -> None:
    """A text of whitespace has no chunks."""
    assert chunk("") == chunk(" \n\n\t ") == []


def test_an_unparsed_media_type_is_refused() -> None:
    """HTML must be parsed first, and the error says so."""
    with pytest.raises(ValueError, match="text/html"):
        chunk("<p>", "text/html")


@pytest.mark.parametrize("limits", [(0, 5, 9), (6, 5, 9), (1, 10, 9)])
def test_limits_out_of_order_are_refused(limits: Sequence[int]) -> None:
    """low <= target <= high, and the error names the values."""
    with pytest.raises(ValueError, match="low <= target <= high"):
        Chunker(WordTokenizer(), ChunkLimits(*limits))


def test_settings_are_capped_by_the_model() -> None:
    """Limits above what the model reads are lowered to it."""
    configured = ChunkingSettings(min_tokens=48, target_tokens=300, max_tokens=500)
    assert ChunkLimits.of(configured, model_tokens=254) == (48, 254, 254)
    assert ChunkLimits.of(ChunkingSettings(), model_tokens=254) == ChunkLimits()
