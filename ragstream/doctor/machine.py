"""Does this machine have what a process needs: settings that fit, a folder to write to, a model that loads?"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from ragstream.configuration import unknown_variables
from ragstream.data_directory import REMEDY, unwritable
from ragstream.doctor.finding import Finding
from schemas.errors import RagError
from schemas.settings import Settings

GIB: Final = 1 << 30
MIN_FREE_BYTES: Final = 1 * GIB
OFFLINE: Final = "HF_HUB_OFFLINE"
PROBE_TEXT: Final = "How long does a refund take?"


def check_settings(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Misspelt variables, and files that settings name."""
    unknown = unknown_variables(environ)
    for name, meant in unknown.items():
        yield Finding("settings", False, f"no setting is called {name}", f"set {meant}" if meant else f"unset {name}")
    kafka = settings.kafka
    named = {
        "RAG_KAFKA__SSL_CA_LOCATION": kafka.ssl_ca_location,
        "RAG_KAFKA__SSL_CERTIFICATE_LOCATION": kafka.ssl_certificate_location,
        "RAG_KAFKA__SSL_KEY_LOCATION": kafka.ssl_key_location,
    }
    missing = [f"{name}={path}" for name, path in named.items() if path is not None and not os.access(path, os.R_OK)]
    missing += [f"RAG_BLOBS__FILE_ROOTS: {root}" for root in settings.blobs.file_roots if not root.is_dir()]
    for text in missing:
        yield Finding("settings", False, f"{text} can't be read", "correct the path, or its permissions")
    if not unknown and not missing:
        yield Finding("settings", True, "all names are known")


def check_data_dir(folder: Path) -> Finding:
    """Journal, views and caches go there."""
    part, problem = f"data directory {folder}", unwritable(folder)
    if problem is not None:
        return Finding(part, False, f"can't be written: {problem}", REMEDY)
    free = shutil.disk_usage(folder).free
    shown = f"writable, {free / GIB:,.1f} GiB free"
    return Finding(part, free >= MIN_FREE_BYTES, shown, "free at least 1 GiB, or choose another disk with RAG_DATA_DIR")


class ModelCheck(NamedTuple):
    """The finding, and the dimension where there is a model."""

    finding: Finding
    dimension: int | None


def check_model(settings: Settings) -> ModelCheck:
    """Load the encoder from this machine alone, and encode a question."""
    os.environ.setdefault(OFFLINE, "1")
    from connectors.embedding import create_embedder  # noqa: PLC0415  loads torch

    part, remedy = f"model {settings.embedding.model}", "name a folder that holds it: RAG_EMBEDDING__MODEL"
    started = time.monotonic()
    try:
        embedder = create_embedder(settings.embedding, settings.data_dir)
    except (RagError, ImportError) as exc:
        return ModelCheck(Finding(part, False, str(exc), remedy), None)
    try:
        loaded_s = time.monotonic() - started
        embedder.encode_query(PROBE_TEXT)
        detail = f"{embedder.variant}, {embedder.dimension} dimensions, loaded in {loaded_s:.1f} s ({embedder.fingerprint})"
        return ModelCheck(Finding(part, True, detail), embedder.dimension)
    finally:
        embedder.close()
