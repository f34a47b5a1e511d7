"""Which backend, device and precision the encoder runs with: what the settings ask for, else the best that the machine has."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from schemas.errors import Misconfigured
from schemas.settings import EmbeddingSettings

Backend = Literal["torch", "openvino"]
Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]

CPU_FLAGS: Final = Path("/proc/cpuinfo")
# Without these instructions bf16 is emulated, and slower than fp32.
BF16_FLAGS: Final = frozenset({"avx512_bf16", "amx_bf16"})

# A GPU that torch calls "cuda" shows as one of these: NVIDIA, NVIDIA under WSL, AMD.
GPU_NODES: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a machine has.

    Attributes:
        cores: that this process may use.
        cpu_bf16: the processor multiplies bf16 (AVX512-BF16 or AMX).
        cuda: a GPU that torch can use.
        cuda_bf16: that GPU multiplies bf16.
        openvino: OpenVINO is installed.
    """

    cores: int = 1
    cpu_bf16: bool = False
    cuda: bool = False
    cuda_bf16: bool = False
    openvino: bool = False


class Choice(NamedTuple):
    """How the encoder runs. `is_asked`: the settings name backend or precision; only what they leave open may be taken back."""

    backend: Backend
    device: Device
    precision: Precision
    threads: int
    is_asked: bool = False


def detect() -> Hardware:
    """Look at this machine. Imports torch only where there may be a GPU: it takes seconds."""
    cuda, cuda_bf16 = _gpu() if any(node.exists() for node in GPU_NODES) else (False, False)
    return Hardware(
        cores=available_cores(),
        cpu_bf16=bool(BF16_FLAGS & cpu_flags(CPU_FLAGS)),
        cuda=cuda,
        cuda_bf16=cuda_bf16,
        openvino=importlib.util.find_spec("openvino") is not None,
    )


def _gpu() -> tuple[bool, bool]:
    import torch  # noqa: PLC0415

    if not torch.cuda.is_available():
        return False, False
    return True, torch.cuda.is_bf16_supported(including_emulation=False)


def available_cores() -> int:
    """Return how many cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_flags(path: Path) -> frozenset[str]:
    """Return the processor's features; none where the system doesn't tell (fp32 always works)."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())


def choose(settings: EmbeddingSettings, hardware: Hardware) -> Choice:
    """Decide. What the settings name is taken or refused, never replaced.

    Raises:
        Misconfigured: the settings ask for what the machine doesn't have.
    """
    device = _device(settings, hardware)
    precision = settings.precision if settings.precision != "auto" else _best_precision(hardware, device)
    if precision == "fp16" and device == "cpu":
        message = "RAG_EMBEDDING__PRECISION=fp16 needs a GPU: processors are slow at it. Use bf16 or auto."
        raise Misconfigured(message)
    is_asked = settings.precision != "auto" or settings.backend != "auto"
    return Choice(_backend(settings, hardware, device), device, precision, settings.threads or hardware.cores, is_asked)


def _device(settings: EmbeddingSettings, hardware: Hardware) -> Device:
    if settings.device == "cuda" and not hardware.cuda:
        message = "RAG_EMBEDDING__DEVICE=cuda, but torch finds no GPU: install its driver and a CUDA build of torch, or use auto."
        raise Misconfigured(message)
    if settings.device == "auto":
        return "cuda" if hardware.cuda and settings.backend != "openvino" else "cpu"
    return settings.device


def _backend(settings: EmbeddingSettings, hardware: Hardware, device: Device) -> Backend:
    if settings.backend == "auto":
        return "openvino" if hardware.openvino and device == "cpu" else "torch"
    if settings.backend == "openvino" and not hardware.openvino:
        message = "RAG_EMBEDDING__BACKEND=openvino, but it isn't installed: pip install 'ragstream[openvino]', or use torch."
        raise Misconfigured(message)
    if settings.backend == "openvino" and device == "cuda":
        message = "RAG_EMBEDDING__BACKEND=openvino runs on the processor here, not on cuda: use torch, or device cpu."
        raise Misconfigured(message)
    return settings.backend


def _best_precision(hardware: Hardware, device: Device) -> Precision:
    if device == "cuda":
        return "bf16" if hardware.cuda_bf16 else "fp16"
    return "bf16" if hardware.cpu_bf16 else "fp32"
