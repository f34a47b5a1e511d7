"""Runs the ingest dataflow on Bytewax until it is stopped, is caught up, or can't go on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from bytewax._bytewax import cluster_main

from connectors.garbage_collection import collect_less
from flows.ingest.flow import ingest_flow
from flows.ingest.runtime import IngestRuntime
from schemas.errors import RagError, Retryable

EPOCH = timedelta(seconds=1)
"""Bytewax holds sources back at epoch ends only; nothing is snapshotted, so short ones cost nothing."""


def run_ingest(runtime: IngestRuntime, *, threads: int = 1, addresses: Sequence[str] | None = None, process: int = 0) -> None:
    """Blocks until the flow ends; closes the runtime.

    Args:
        threads: worker threads of this process (they share one encoder; Python code does not get faster with more).
        addresses: host:port of all processes of the cluster, None for this one alone. process: this one's place there.

    Raises: RagError, what made the flow stop: Fenced, DataLoss, Misconfigured, Retryable after a stop that could not finish,
    and when another process of the cluster is gone.
    """
    collect_less()
    runtime.start()
    try:
        cluster_main(  # type: ignore[no-untyped-call]
            ingest_flow(runtime),
            list(addresses) if addresses is not None else [],
            process,
            epoch_interval=EPOCH,
            worker_count_per_proc=threads,
        )
    except BaseException as exc:
        reason = _root_cause(exc)
        if reason is exc and addresses and _is_panic(exc):
            msg = f"the connection to another worker process broke ({exc}): it has ended, and this one stops too"
            raise Retryable(msg) from exc
        if reason is exc:
            raise
        raise reason from exc
    finally:
        runtime.close()


def _is_panic(error: BaseException) -> bool:
    """Whether Bytewax's engine gave up: in a cluster it does when a process of it is killed, in whichever thread notices."""
    return type(error).__name__ == "PanicException"


def _root_cause(error: BaseException) -> BaseException:
    """Bytewax wraps what a step raised, several times over: find our own error in the chain."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, RagError):
            return cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
    return error
