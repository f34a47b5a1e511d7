"""Passages with defaults, for tests of answering."""

from query_api.answer import Passage
from schemas.index import DocKey


def passage(text: str, **over: object) -> Passage:
    """A passage of document `d1` unless `doc` names another."""
    doc = over.pop("doc", "d1")
    fields: dict[str, object] = {
        "doc_key": DocKey("docs", str(doc)),
        "row_id": f"{doc}-row",
        "title": "",
        "source_uri": None,
        "version": 1,
        "chunk": 0,
        "start": 0,
        "end": len(text),
        "text": text,
        "score": 1.0,
        **over,
    }
    return Passage(**fields)  # type: ignore[arg-type]
