"""What a process says of itself on its health endpoint."""

from __future__ import annotations

import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Final, Literal

import orjson
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a process is ready.

    Attributes:
        waiting_for: by part, what is not ready yet. metrics: of samples with and without labels, by `name{label="value"}`.
    """

    url: str
    state: Literal["ready", "waiting", "unreachable"]
    waiting_for: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def ask_health(url: str) -> Health:
    """Ask `/readyz` and `/metrics`. Never raises: who doesn't answer is unreachable."""
    try:
        waiting_for = _readiness(f"{url}/readyz")
        metrics = _metrics(_get(f"{url}/metrics").decode(errors="replace"))
    except (OSError, ValueError) as exc:
        return Health(url, "unreachable", {"endpoint": str(getattr(exc, "reason", exc))})
    return Health(url, "waiting" if waiting_for else "ready", waiting_for, metrics)


def _readiness(url: str) -> dict[str, str]:
    try:
        _get(url)
    except urllib.error.HTTPError as exc:
        body = orjson.loads(exc.read())
        return {str(part): str(reason) for part, reason in body.get("waiting_for", {}).items()}
    return {}


def _get(url: str) -> bytes:
    # The address is our own settings' or the file's of a running `up`.
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
        body: bytes = response.read()
        return body


def _metrics(text: str) -> dict[str, float]:
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if family.name.startswith("rag_") and not sample.name.endswith("_bucket"):
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found
