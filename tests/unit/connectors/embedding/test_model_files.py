"""Where models are found and what names them."""

import shutil
from pathlib import Path

import pytest

from connectors.embedding.model_files import content_hash, model_folder
from schemas.errors import Misconfigured


def test_default_model_is_installed() -> None:
    """The default needs no network: its weights are in site-packages."""
    assert (model_folder("all-MiniLM-L6-v2") / "model.safetensors").is_file()


def test_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    """A path with a model in it is a path, not a name to look up."""
    (tmp_path / "config.json").write_text("{}")
    assert model_folder(str(tmp_path)) == tmp_path


def test_unknown_model_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, a model that isn't there is an error that names the setting."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(Misconfigured, match="RAG_EMBEDDING__MODEL='sentence-transformers/no-such-model'"):
        model_folder("no-such-model")


def test_hash_is_of_what_decides_vectors(tmp_path: Path) -> None:
    """Moving a folder or its documentation changes nothing; a weight or a setting does."""
    first = tmp_path / "first"
    (first / "1_Pooling").mkdir(parents=True)
    (first / "model.safetensors").write_bytes(b"weights")
    (first / "1_Pooling" / "config.json").write_text("{}")
    known = content_hash(first)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    (second / "README.md").write_text("words")
    (second / "onnx").mkdir()
    (second / "onnx" / "config.json").write_text("{}")
    assert content_hash(second) == known
    (second / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    assert content_hash(second) != known
