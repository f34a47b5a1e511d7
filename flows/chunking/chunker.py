"""The chunker: blocks, cut where they are too large and joined where they are small, as spans of their text."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import chain, pairwise
from typing import Final, NamedTuple, Protocol

from flows.chunking.blocks import BREAK_CONTINUED, Block, markdown_blocks, plain_blocks
from flows.chunking.grouping import Measure, Sizes, TokenIds, Unit, group
from flows.chunking.splitting import CUTTERS, Piece
from schemas.settings import ChunkingSettings

ALGORITHM_VERSION: Final = 1  # raise it with every change that can move a boundary
LOW_TOKENS: Final = 48
TARGET_TOKENS: Final = 120
HIGH_TOKENS: Final = 240
CHARS_PER_TOKEN: Final = 16  # a chunk's length is bounded too: BERT takes a word of 100 and more characters for one token
CACHED_BLOCKS: Final = 50_000  # about 200 bytes each, and their ids
MEASURED_AT_ONCE: Final = 1_024  # what a tokenizer returns of a text takes a hundred times its room for a while
BLANKS: Final = frozenset(" \t\n\r")  # what every tokenizer with joinable ids parts words at

_BLOCKS = {"text/markdown": markdown_blocks, "text/plain": plain_blocks}
# Texts whose counts, taken together, tell one tokenizer from another.
_PROBES = (
    "The quick brown fox jumps over the lazy dog.",
    "internationalisation of antidisestablishmentarianism, 1234567890",
    "def f(x): return {'a': x ** 2}  # naïve café",
    "日本語のテキスト und Größenänderung и кириллица 🙂",
    "a" * 120,
)
# Joined by whitespace these must count as their sum, if sums are to be trusted for any joined text.
_ADDITIVE_PROBES = (
    ("one, two", "three."),
    ("# Head", "- item\n- item"),
    ("x=1", "    y=2"),
    ("日本", "語"),
    ("(a)", '"b"'),
)


class Chunk(NamedTuple):
    """A span of a document's text: `text == source[start:end]`.

    Attributes:
        digest: the first 32 hexadecimal digits of the text's SHA-256.
        tokens: the tokens of the text, special ones not counted.
        ids: those tokens, where they are known: exactly what the tokenizer makes of the text.
    """

    start: int
    end: int
    text: str
    digest: str
    tokens: int
    ids: TokenIds | None = None


class Tokenizer(Protocol):
    """Counts as the embedding model does."""

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without special ones and without truncation. Pure; at least one text."""


class ChunkLimits(NamedTuple):
    """Sizes in the model's tokens: small neighbours (below `low`) are joined up to `target`; nothing exceeds `high`."""

    low: int = LOW_TOKENS
    target: int = TARGET_TOKENS
    high: int = HIGH_TOKENS

    @classmethod
    def of(cls, settings: ChunkingSettings, *, model_tokens: int) -> ChunkLimits:
        """The limits that the settings name, none above what the model reads: it would cut off the rest without a word.

        Args:
            settings: as configured.
            model_tokens: the tokens of a text that the model takes, without special ones (254 for MiniLM).
        """
        high = min(settings.max_tokens, model_tokens)
        target = min(settings.target_tokens, high)
        return cls(min(settings.min_tokens, target), target, high)


DEFAULT_LIMITS: Final = ChunkLimits()


class _Part(NamedTuple):
    """A piece of a block, relative to it, and its size; a block that is not too large is its own only part."""

    start: int
    end: int
    size: Measure


class Chunker:
    """Cuts documents into chunks; the same text always gives the same chunks.

    It remembers what it learned of recent blocks, so that an edited document costs little. Not for use by several
    threads at once.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        limits: ChunkLimits = DEFAULT_LIMITS,
        *,
        ids: Callable[[Sequence[str]], Sequence[TokenIds]] | None = None,
        cached_blocks: int = CACHED_BLOCKS,
    ) -> None:
        """Take a tokenizer.

        Args:
            tokenizer: counts as the encoder does.
            limits: of the chunks.
            ids: returns the tokens themselves, for chunks that carry theirs. Only of a tokenizer for which texts that are joined
                by blanks have the ids of their parts, joined.
            cached_blocks: how many blocks are remembered.
        """
        if not 1 <= limits.low <= limits.target <= limits.high:
            message = f"chunk limits must be 1 <= low <= target <= high, not {limits}"
            raise ValueError(message)
        self._tokenizer = tokenizer
        self._ids = ids
        self._sizes = Sizes(*limits, max_chars=limits.high * CHARS_PER_TOKEN)
        self._known: OrderedDict[bytes, tuple[_Part, ...]] = OrderedDict()
        self._cached_blocks = cached_blocks
        counts = tokenizer.count(_PROBES)
        self._is_additive = _is_additive(tokenizer)
        identity = repr((ALGORITHM_VERSION, CHARS_PER_TOKEN, tuple(limits), counts, self._is_additive))
        self.fingerprint: Final = f"structural-{ALGORITHM_VERSION}-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"

    def chunk(self, text: str, media_type: str) -> list[Chunk]:
        """Return the chunks of a text in order: they don't overlap and hold every character that is not whitespace.

        Raises:
            ValueError: the media type is neither text/markdown nor text/plain.
        """
        try:
            find_blocks = _BLOCKS[media_type]
        except KeyError:
            message = f"can't chunk {media_type!r}; parse it to one of {', '.join(_BLOCKS)} first"
            raise ValueError(message) from None
        units = self._units(text, find_blocks(text))
        return self._chunks(text, units, group(units, self._sizes))

    def _units(self, text: str, blocks: Sequence[Block]) -> list[Unit]:
        bodies = [text[block.start : block.end] for block in blocks]
        keys = [_hash(body, 16) for body in bodies]
        self._learn({key: body for key, body in zip(keys, bodies, strict=True) if key not in self._known})
        units: list[Unit] = []
        for key, block in zip(keys, blocks, strict=True):
            self._known.move_to_end(key)
            number = int.from_bytes(key[:8])
            strength = block.break_before
            for part in self._known[key]:
                units.append(Unit(block.start + part.start, block.start + part.end, part.size, strength, number))
                number, strength = number * 31 + 1 & 0xFFFFFFFF, BREAK_CONTINUED
        while len(self._known) > self._cached_blocks:
            self._known.popitem(last=False)
        return units

    def _learn(self, new: dict[bytes, str]) -> None:
        for (key, block), size in zip(new.items(), self._sized(new.values()), strict=True):
            if size is None:
                self._known[key] = tuple(self._cut_up(block))
            else:
                self._known[key] = (_Part(0, len(block), size),)

    def _cut_up(self, block: str) -> list[_Part]:
        """Cut a block that is too large at lines, else sentences, words, characters; join the pieces again."""
        units = self._pieces(block, 0, 0)
        return [_Part(c.start, c.end, Measure(c.tokens, c.ids)) for c in self._chunks(block, units, group(units, self._sizes))]

    def _pieces(self, text: str, offset: int, level: int) -> list[Unit]:
        pieces = list(CUTTERS[level](text))
        bodies = [text[piece.start : piece.end] for piece in pieces]
        units: list[Unit] = []
        for piece, body, size in zip(pieces, bodies, self._sized(bodies), strict=True):
            if size is not None:
                units.append(_unit(piece, body, size, offset))
            elif level + 1 < len(CUTTERS):
                units.extend(self._pieces(body, offset + piece.start, level + 1))
            else:
                units.extend(self._halves(body, offset + piece.start))
        return units

    def _halves(self, text: str, offset: int) -> list[Unit]:
        """Cut characters in two until they fit; a single one is let through whatever it counts."""
        middle = len(text) // 2
        if not middle:
            return [_unit(Piece(0, len(text), BREAK_CONTINUED), text, self._measured((text,))[0], offset)]
        halves = (text[:middle], offset), (text[middle:], offset + middle)
        units: list[Unit] = []
        for (half, start), size in zip(halves, self._sized([half for half, _ in halves]), strict=True):
            if size is None:
                units.extend(self._halves(half, start))
            else:
                units.append(_unit(Piece(0, len(half), BREAK_CONTINUED), half, size, start))
        return units

    def _chunks(self, text: str, units: Sequence[Unit], runs: Iterable[tuple[int, int]]) -> list[Chunk]:
        """Make a chunk of each run; where its real count exceeds the limit, unlike its units' sum, one of each unit."""
        runs = list(runs)
        doubtful = {run: text[units[run[0]].start : units[run[1] - 1].end] for run in runs if self._is_doubtful(units, run)}
        measured = dict(zip(doubtful, self._measured(doubtful.values()), strict=True))
        chunks: list[Chunk] = []
        for first, after in runs:
            members = units[first:after]
            size = measured.get((first, after)) or _joined(text, members)
            if size.tokens > self._sizes.high:
                chunks.extend(_chunk(text, unit.start, unit.end, unit.size) for unit in members)
            else:
                chunks.append(_chunk(text, members[0].start, members[-1].end, size))
        return chunks

    def _is_doubtful(self, units: Sequence[Unit], run: tuple[int, int]) -> bool:
        """Say whether a run may count other than its units' sum: within a word always, else as the tokenizer is."""
        members = units[run[0] : run[1]]
        return len(members) > 1 and (not self._is_additive or any(a.end == b.start for a, b in pairwise(members)))

    def _sized(self, texts: Collection[str]) -> list[Measure | None]:
        """Return the size of each text, None for one that is too large; what is far too long is not even counted."""
        limits = self._sizes
        measured = iter(self._measured(text for text in texts if len(text) <= limits.max_chars))
        sizes = (next(measured) if len(text) <= limits.max_chars else None for text in texts)
        return [size if size is not None and size.tokens <= limits.high else None for size in sizes]

    def _measured(self, texts: Iterable[str]) -> list[Measure]:
        batch = list(texts)
        measured: list[Measure] = []
        for start in range(0, len(batch), MEASURED_AT_ONCE):
            some = batch[start : start + MEASURED_AT_ONCE]
            if self._ids is None:
                measured.extend(Measure(tokens) for tokens in self._tokenizer.count(some))
            else:
                measured.extend(Measure(len(ids), ids) for ids in self._ids(some))
        return measured


def _unit(piece: Piece, body: str, size: Measure, offset: int) -> Unit:
    key = int.from_bytes(_hash(body, 4))
    return Unit(offset + piece.start, offset + piece.end, size, piece.break_before, key)


def _joined(text: str, members: Sequence[Unit]) -> Measure:
    """The size of a run of units as their sum; with ids where a blank stands at every joint."""
    if len(members) == 1:
        return members[0].size
    tokens = sum(unit.size.tokens for unit in members)
    parts = [unit.size.ids for unit in members if unit.size.ids is not None]
    if len(parts) < len(members) or any(BLANKS.isdisjoint(text[a.end : b.start]) for a, b in pairwise(members)):
        return Measure(tokens)
    return Measure(tokens, array(parts[0].typecode, chain.from_iterable(parts)))


def _hash(text: str, size: int) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=size).digest()


def _chunk(text: str, start: int, end: int, size: Measure) -> Chunk:
    body = text[start:end]
    digest = hashlib.sha256(body.encode(errors="surrogatepass")).hexdigest()[:32]
    return Chunk(start, end, body, digest, *size)


def _is_additive(tokenizer: Tokenizer) -> bool:
    """Say whether whitespace costs nothing, so that joined texts count as the sum of their parts (as with WordPiece)."""
    parts = tokenizer.count([part for pair in _ADDITIVE_PROBES for part in pair])
    joined = tokenizer.count(["\n\n".join(pair) for pair in _ADDITIVE_PROBES])
    return [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)] == joined
