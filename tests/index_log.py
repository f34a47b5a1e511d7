"""An independent reader of the index log: what a view must show, and whether every offset is accounted for exactly once.

Shares the contracts and the join with the product, nothing of its lanes or views.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from connectors.kafka import KafkaLink, partitions_of, read_to_end
from schemas.index import DOC, OWNER, PROGRESS, SEEN, DocKey, IndexEntry, LogKey, Owner, Progress, SeenRecord
from schemas.join import DocumentState, join


@dataclass
class IndexLog:
    """The log, folded."""

    states: dict[DocKey, DocumentState] = field(default_factory=dict)
    manifests: dict[DocKey, IndexEntry] = field(default_factory=dict)
    markers: dict[int, list[Progress]] = field(default_factory=dict)
    history: list[IndexEntry] = field(default_factory=list)  # every manifest, also superseded ones
    owners: dict[int, list[Owner]] = field(default_factory=dict)  # who wrote a partition, one after the other

    def live(self, now_ms: int) -> dict[DocKey, IndexEntry]:
        return {key: m for key, m in self.manifests.items() if m.shown and self.states[key].is_live(now_ms)}

    def live_rows(self, now_ms: int) -> set[str]:
        return {span.row_id for manifest in self.live(now_ms).values() for span in manifest.chunks}

    def outcomes(self, partition: int) -> list[tuple[int, str]]:
        """Offset and outcome, in the order of the markers. Asserts that markers tile and offsets never repeat."""
        found: list[tuple[int, str]] = []
        position: int | None = None
        for marker in self.markers.get(partition, []):
            assert position is None or marker.start == position, f"marker starts at {marker.start}, the last ended at {position}"
            position = marker.next
            for run in marker.runs:
                assert run.last - run.first + 1 == run.count, "only where rag.documents has no gaps"
                found += [(offset, run.outcome) for offset in range(run.first, run.last + 1)]
        return found


def read_index_log(link: KafkaLink, topic: str) -> IndexLog:
    """Read all partitions from start to end."""
    log = IndexLog()
    for partition in partitions_of(link, topic):
        for record in read_to_end(link, topic, partition):
            if record.key is None or record.value is None:
                continue
            key = LogKey.from_bytes(record.key)
            if key.kind == PROGRESS:
                log.markers.setdefault(partition, []).append(Progress.from_bytes(record.value))
            elif key.kind == OWNER:
                log.owners.setdefault(partition, []).append(Owner.from_bytes(record.value))
            elif key.kind == SEEN:
                doc = DocKey.parse(key.name)
                log.states[doc] = join(log.states.get(doc, DocumentState()), SeenRecord.from_bytes(record.value).state)
            elif key.kind == DOC:
                doc = DocKey.parse(key.name)
                manifest = IndexEntry.from_bytes(record.value)
                log.manifests[doc] = manifest
                log.history.append(manifest)
                log.states[doc] = join(log.states.get(doc, DocumentState()), manifest.state)
    return log
