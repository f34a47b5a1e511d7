"""Runs a function of the benchmarks in a process of its own, so that memory, threads and metrics are that part's alone."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from typing import Any

TIMEOUT_S = 1800
MARK = "benchmark-result "


def in_own_process(function: str, arguments: dict[str, Any], timeout_s: float = TIMEOUT_S) -> dict[str, Any]:
    """`module:function` called with JSON arguments; returns the JSON it returns. Raises: CalledProcessError, TimeoutExpired."""
    command = [sys.executable, "-m", "benchmarks.child", function]
    done = subprocess.run(command, input=json.dumps(arguments), stdout=subprocess.PIPE, text=True, check=True, timeout=timeout_s)
    answer = next(line for line in reversed(done.stdout.splitlines()) if line.startswith(MARK))
    result: dict[str, Any] = json.loads(answer.removeprefix(MARK))
    return result


def main() -> None:
    """The other side."""
    from connectors.observability import configure_logging  # noqa: PLC0415
    from schemas.settings import ObservabilitySettings  # noqa: PLC0415

    configure_logging(ObservabilitySettings(log_level="warning"))
    module, _, name = sys.argv[1].partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(sys.stdin.read()))
    print(MARK + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
