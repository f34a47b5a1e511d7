"""What the encoder runs on."""

from pathlib import Path

import pytest

from connectors.embedding.hardware import Choice, Hardware, available_cores, choose, cpu_flags, detect
from schemas.errors import Misconfigured
from schemas.settings import EmbeddingSettings

LAPTOP = Hardware(cores=4)
SERVER = Hardware(cores=32, cpu_bf16=True, openvino=True)
GPU = Hardware(cores=16, cpu_bf16=True, cuda=True, cuda_bf16=True, openvino=True)
OLD_GPU = Hardware(cores=8, cuda=True)


@pytest.mark.parametrize(
    ("hardware", "asked", "expected"),
    [
        pytest.param(LAPTOP, {}, Choice("torch", "cpu", "fp32", 4), id="plain-cpu"),
        pytest.param(SERVER, {}, Choice("openvino", "cpu", "bf16", 32), id="cpu-with-bf16"),
        pytest.param(GPU, {}, Choice("torch", "cuda", "bf16", 16), id="gpu"),
        pytest.param(OLD_GPU, {}, Choice("torch", "cuda", "fp16", 8), id="gpu-without-bf16"),
        pytest.param(GPU, {"device": "cpu"}, Choice("openvino", "cpu", "bf16", 16), id="gpu-unwanted"),
        pytest.param(GPU, {"backend": "openvino"}, Choice("openvino", "cpu", "bf16", 16, True), id="openvino-beside-a-gpu"),
        pytest.param(SERVER, {"backend": "torch"}, Choice("torch", "cpu", "bf16", 32, True), id="torch-asked"),
        pytest.param(SERVER, {"precision": "fp32", "threads": 2}, Choice("openvino", "cpu", "fp32", 2, True), id="fp32-asked"),
    ],
)
def test_takes_the_best_unless_told(hardware: Hardware, asked: dict[str, object], expected: Choice) -> None:
    """CUDA before bf16 on the processor before plain fp32; what is asked for is taken."""
    assert choose(EmbeddingSettings.model_validate(asked), hardware) == expected


@pytest.mark.parametrize(
    ("hardware", "asked", "named"),
    [
        (LAPTOP, {"device": "cuda"}, "RAG_EMBEDDING__DEVICE=cuda"),
        (LAPTOP, {"backend": "openvino"}, r"ragstream\[openvino\]"),
        (LAPTOP, {"precision": "fp16"}, "PRECISION=fp16"),
        (GPU, {"device": "cuda", "backend": "openvino"}, "BACKEND=openvino"),
    ],
)
def test_refuses_what_is_not_there(hardware: Hardware, asked: dict[str, object], named: str) -> None:
    """A demand that can't be met is an error that names the setting, never silently something else."""
    with pytest.raises(Misconfigured, match=named):
        choose(EmbeddingSettings.model_validate(asked), hardware)


def test_reads_the_processors_flags(tmp_path: Path) -> None:
    """Flags are read as Linux lists them; no such list means none."""
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nflags\t\t: fpu avx512_bf16 amx_tile\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert cpu_flags(listed) == {"fpu", "avx512_bf16", "amx_tile"}
    assert cpu_flags(tmp_path / "none") == frozenset()


def test_looks_at_this_machine() -> None:
    """Whatever machine this is, it has a core and gets a choice."""
    assert detect().cores == available_cores() >= 1
    assert choose(EmbeddingSettings(), detect()).threads >= 1
