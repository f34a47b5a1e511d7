"""The two processes as services: ingest and query. `ragstream ingest` and `ragstream serve` run one each, `ragstream up` both."""

from ragstream.services.ingest import IngestService
from ragstream.services.query import QueryService
from ragstream.services.where import Where

__all__ = ["IngestService", "QueryService", "Where"]
