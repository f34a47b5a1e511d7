"""The local view of the index log: which text of each document is current, who may read it, and how fresh that is."""

from query_api.view.freshness import Freshness
from query_api.view.index_view import IndexView, Readiness, TokenStatus
from query_api.view.log import KafkaViewLog, ViewLog
from query_api.view.snapshot import ViewDocument, ViewSnapshot
from query_api.view.store import ManifestStore

__all__ = [
    "Freshness",
    "IndexView",
    "KafkaViewLog",
    "ManifestStore",
    "Readiness",
    "TokenStatus",
    "ViewDocument",
    "ViewLog",
    "ViewSnapshot",
]
