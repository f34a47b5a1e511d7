"""A model's tokens: counted for the chunker, and as padded batches for the model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import structlog
from numpy.typing import NDArray
from tokenizers import Tokenizer

from connectors.embedding.batching import padded_length

_log = structlog.get_logger(__name__)

TOKENIZER_FILE: Final = "tokenizer.json"
ABOUT_FILE: Final = "tokens.json"

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

    def ids(self, texts: Sequence[str], *, prefix: str | None = None) -> list[list[int]]:
        """Return each text's ids, special ones included, cut off at the window; `prefix` instead of the documents' own."""
        front = self._prefix if prefix is None else prefix
        encodings = self._encoder.encode_batch_fast([front + _valid(text) for text in texts])
        cut_off = sum(bool(encoding.overflowing) for encoding in encodings)
        if cut_off:
            _log.warning("texts are longer than the model takes: ends ignored", texts=cut_off, max_tokens=self.max_tokens)
        return [encoding.ids for encoding in encodings]

    def pad(self, batch: Sequence[Sequence[int]]) -> PaddedBatch:
        """Return the texts as one block."""
        shape = (len(batch), padded_length(max(map(len, batch))))
        ids = np.full(shape, self._pad_id, np.int64)
        mask = np.zeros(shape, np.int64)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        return PaddedBatch(ids, mask)


def _valid(text: str) -> str:
    """Return the text with lone surrogates replaced: the tokenizer takes valid Unicode only."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
