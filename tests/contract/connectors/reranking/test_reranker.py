"""Rerankers: the same promises of the one without a model and of a real cross-encoder, loaded from files that the test makes."""

from __future__ import annotations

import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from connectors.reranking import Reranker, SharedWordsReranker, create_reranker
from connectors.reranking.cross_encoder import CrossEncoderReranker
from schemas.errors import Misconfigured
from schemas.settings import QuerySettings

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "card", "pin", "fee", "how", "change", "##s", "the", "rain", "my"]
pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder of random weights, small, saved as real ones are."""
    return made(tmp_path_factory.mktemp("cross-encoder"), labels=1)


def made(folder: Path, labels: int) -> Path:
    torch: Any = import_module("torch")
    transformers: Any = import_module("transformers")
    torch.manual_seed(7)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
        num_labels=labels,
        initializer_range=0.5,
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    tokens = Tokenizer(models.WordPiece({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokens.normalizer = normalizers.BertNormalizer()
    tokens.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokens.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, model_max_length=32, **names)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(params=["shared-words", "cross-encoder"])
def reranker(request: pytest.FixtureRequest, model_folder: Path) -> Reranker:
    """One of each."""
    if request.param == "shared-words":
        return SharedWordsReranker()
    return CrossEncoderReranker(str(model_folder))


def test_one_score_a_text_in_order_whatever_the_company(reranker: Reranker) -> None:
    """Scores lie in [0, 1], follow their texts, and don't depend on what else is looked at."""
    texts = ["change the pin", "rain", "how my card fees change " * 40, "", "カード \udc80"]
    scores = reranker.scores("how change my pin", texts)
    assert len(scores) == len(texts)
    assert all(0.0 <= score <= 1.0 for score in scores)
    assert reranker.scores("how change my pin", texts[::-1]) == pytest.approx(scores[::-1], abs=1e-5)
    assert reranker.scores("how change my pin", texts[:1]) == pytest.approx(scores[:1], abs=1e-5)
    assert reranker.scores("how", []) == []
    reranker.close()


def test_once_loaded_nothing_is_looked_for_any_more(model_folder: Path, tmp_path: Path) -> None:
    """The model's files may be gone by the first question; loading again does no harm."""
    copied = tmp_path / "model"
    shutil.copytree(model_folder, copied)
    rerankers: list[Reranker] = [SharedWordsReranker(), CrossEncoderReranker(str(copied))]
    for reranker in rerankers:
        reranker.load()
        reranker.load()
    shutil.rmtree(copied)
    assert [len(reranker.scores("how", ["card"])) for reranker in rerankers] == [1, 1]


def test_question_and_text_are_read_together(model_folder: Path) -> None:
    """The real one scores pairs: another question, another score for the same text."""
    reranker = CrossEncoderReranker(str(model_folder))
    first, second = (reranker.scores(question, ["change the pin"])[0] for question in ("how card", "rain fee"))
    assert first != pytest.approx(second, abs=1e-6)


def test_a_model_that_is_not_there_is_said_and_not_looked_for_again(tmp_path: Path) -> None:
    """An empty folder names the setting; so does a classifier of several labels; no settings, no reranker."""
    with pytest.raises(Misconfigured, match="RAG_QUERY__RERANK_MODEL"):
        CrossEncoderReranker(str(tmp_path)).load()
    missing = CrossEncoderReranker(str(tmp_path))
    with pytest.raises(Misconfigured, match="RAG_QUERY__RERANK_MODEL") as first:
        missing.scores("how", ["card"])
    with pytest.raises(Misconfigured) as second:
        missing.scores("how", ["card"])
    assert second.value is first.value
    with pytest.raises(Misconfigured) as third:
        missing.load()
    assert third.value is first.value
    (tmp_path / "labels").mkdir()
    with pytest.raises(Misconfigured, match="3 labels"):
        CrossEncoderReranker(str(made(tmp_path / "labels", labels=3))).scores("how", ["card"])


def test_made_as_the_settings_say(model_folder: Path) -> None:
    """Off is none; wanted and not named is refused at the start."""
    assert create_reranker(QuerySettings()) is None
    with pytest.raises(Misconfigured, match="RAG_QUERY__RERANK_MODEL"):
        create_reranker(QuerySettings(rerank="cross-encoder"))
    made_of = create_reranker(QuerySettings(rerank="cross-encoder", rerank_model=str(model_folder)))
    assert isinstance(made_of, CrossEncoderReranker)
