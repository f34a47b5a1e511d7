"""The container's health check: whatever runs in it, ingest or query workers or both, answers `/healthz`.

One container runs one command, so of the two ports one may be closed; a container where neither answers is not healthy.
Plain Python: it starts every few seconds and must cost nothing.
"""

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 3.0
# The settings' own defaults, when the variables are not set.
PORTS = {"RAG_OBSERVABILITY__INGEST_PORT": "9464", "RAG_OBSERVABILITY__QUERY_PORT": "9463"}


def is_alive(port: str) -> bool:
    """Whether something on the port says that it lives."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  reason: HTTP's own number
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


if __name__ == "__main__":
    sys.exit(not any([is_alive(os.environ.get(variable, default)) for variable, default in PORTS.items()]))
