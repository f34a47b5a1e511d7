"""A model's tokens: counted for the chunker, and as padded batches for the model."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from connectors.embedding.batching import padded_length
from connectors.embedding.port import TokenIds

_log = structlog.get_logger(__name__)

TOKENIZER_FILE: Final = "tokenizer.json"
ABOUT_FILE: Final = "tokens.json"

FRAME_PROBES: Final = ("card", "a fee of 4.50")
"""Texts that show which special tokens stand around every text."""
SMALL_VOCABULARY: Final = 1 << 16

Ids = NDArray[np.int64]


class PaddedBatch(NamedTuple):
    """Token ids and attention mask, (texts, longest padded length)."""

    input_ids: Ids
    attention_mask: Ids


class Tokens:
    """A model's tokenizer for several threads at once.

    Tokenizers from `transformers` fail when threads share them, because each call sets truncation and padding anew
    (transformers#47085). These are set up once and only read afterwards, which their Rust side allows.
    """

    def __init__(self, tokenizer: Tokenizer, window: int, *, pad_id: int = 0, prefix: str = "") -> None:
        """Take a tokenizer over (by copy).

        Args:
            tokenizer: of the model.
            window: most tokens that the model takes, special ones included.
            pad_id: what fills up short texts; masked, so it doesn't matter to the result.
            prefix: text that the model wants in front of every document.
        """
        self._counter = Tokenizer.from_str(tokenizer.to_str())
        self._counter.no_padding()
        self._counter.no_truncation()
        self._encoder = Tokenizer.from_str(self._counter.to_str())
        self._encoder.enable_truncation(window)
        self._window = window
        self._pad_id = pad_id
        self._prefix = prefix
        specials: int = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.max_tokens = window - specials - (self.count([prefix])[0] if prefix else 0)
        self._typecode = "H" if self._counter.get_vocab_size() <= SMALL_VOCABULARY else "I"
        self._frame = self._find_frame() if _is_joinable(self._counter) and (not prefix or prefix[-1] == " ") else None

    @classmethod
    def load(cls, folder: Path) -> Tokens:
        """Return what `save` wrote."""
        about = json.loads((folder / ABOUT_FILE).read_text())
        return cls(Tokenizer.from_file(str(folder / TOKENIZER_FILE)), about.pop("window"), **about)

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its limits."""
        self._counter.save(str(folder / TOKENIZER_FILE))
        about = {"window": self._window, "pad_id": self._pad_id, "prefix": self._prefix}
        (folder / ABOUT_FILE).write_text(json.dumps(about))

    def count(self, texts: Sequence[str]) -> list[int]:
        """Return each text's tokens, without special ones and before anything is cut off."""
        encodings = self._counter.encode_batch_fast([_valid(text) for text in texts], add_special_tokens=False)
        return [len(encoding) for encoding in encodings]

    @property
    def are_joinable(self) -> bool:
        """Whether texts joined by blanks have the ids of their parts, joined, and `framed` may be called."""
        return self._frame is not None

    def bare_ids(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return each text's ids, without special ones and before anything is cut off."""
        encodings = self._counter.encode_batch_fast([_valid(text) for text in texts], add_special_tokens=False)
        return [array(self._typecode, encoding.ids) for encoding in encodings]

    def framed(self, bare: TokenIds) -> TokenIds | None:
        """Return what `ids` gives for a text with these bare ids; None where only `ids` can tell."""
        if self._frame is None or len(bare) > self.max_tokens:
            return None
        before, after = self._frame
        return before + bare + after

    def ids(self, texts: Sequence[str], *, prefix: str | None = None) -> list[list[int]]:
        """Return each text's ids, special ones included, cut off at the window; `prefix` instead of the documents' own."""
        front = self._prefix if prefix is None else prefix
        encodings = self._encoder.encode_batch_fast([front + _valid(text) for text in texts])
        cut_off = sum(bool(encoding.overflowing) for encoding in encodings)
        if cut_off:
            _log.warning("texts are longer than the model takes: ends ignored", texts=cut_off, max_tokens=self.max_tokens)
        return [encoding.ids for encoding in encodings]

    def _find_frame(self) -> tuple[TokenIds, TokenIds] | None:
        """What stands before and after the bare ids of every text; None where texts have no such frame."""
        frames = set()
        for text, bare in zip(FRAME_PROBES, self.bare_ids(FRAME_PROBES), strict=True):
            whole = self._counter.encode(self._prefix + text).ids
            starts = [start for start in range(len(whole)) if whole[start : start + len(bare)] == list(bare)]
            frames |= {(tuple(whole[:start]), tuple(whole[start + len(bare) :])) for start in starts}
        if len(frames) != 1:
            return None
        before, after = frames.pop()
        return array(self._typecode, before), array(self._typecode, after)

    def pad(self, batch: Sequence[Sequence[int]]) -> PaddedBatch:
        """Return the texts as one block."""
        shape = (len(batch), padded_length(max(map(len, batch))))
        ids = np.full(shape, self._pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return PaddedBatch(ids, mask)


def _is_joinable(tokenizer: Tokenizer) -> bool:
    """Whether a blank always ends a word and leaves no other trace: BERT's way, which treats each word on its own.

    Of its normaliser nothing reaches over a blank: characters are cleaned and lowered one by one, accents go with their letters.
    """
    added = tokenizer.get_added_tokens_decoder().values()
    return (
        isinstance(tokenizer.model, WordPiece)
        and isinstance(tokenizer.pre_tokenizer, BertPreTokenizer)
        and isinstance(tokenizer.normalizer, BertNormalizer)
        and not any(char.isspace() for token in added for char in token.content)
    )


def _valid(text: str) -> str:
    """Return the text with lone surrogates replaced: the tokenizer takes valid Unicode only."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
