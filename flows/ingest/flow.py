"""The ingest dataflow: wiring only. Read top to bottom, it is an event's path.

python -m bytewax.run flows.ingest.main:flow            # settings from RAG_*; `-w`, `-i`, `-a` as Bytewax has them
ragstream ingest --workers 2                            # the same, with signals, exit codes and health
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from flows.ingest.publishing import Receipt
from flows.ingest.runtime import IngestRuntime
from flows.ingest.source import DocumentsSource


def ingest_flow(runtime: IngestRuntime) -> Dataflow:
    """`rag.documents` to rows, manifests and dead letters.

    Stateless steps: nothing is exchanged between workers, so a partition stays in order on its worker, and a step that blocks
    holds its source back (keyed steps do neither).
    """
    flow = Dataflow("ingest")
    records = op.input("documents", flow, DocumentsSource(runtime))
    events = op.flat_map_batch("decode", records, runtime.decode)
    works = op.flat_map_batch("fence_fetch_parse_chunk", events, runtime.plan)
    receipts = op.flat_map_batch("embed_upsert_publish", works, runtime.write)
    op.output("account", receipts, AccountSink(runtime))
    return flow


class _AccountPartition(StatelessSinkPartition[Receipt]):
    def __init__(self, runtime: IngestRuntime) -> None:
        self._runtime = runtime

    def write_batch(self, items: list[Receipt]) -> None:
        for receipt in items:
            self._runtime.account(receipt)


class AccountSink(DynamicSink[Receipt]):
    """Counts what is committed. Terminal: what must know of an acknowledgement is a step before."""

    def __init__(self, runtime: IngestRuntime) -> None:
        self._runtime = runtime

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _AccountPartition:
        return _AccountPartition(self._runtime)
