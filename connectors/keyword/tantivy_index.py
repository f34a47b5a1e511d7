"""The keyword index on disk: Tantivy, BM25. What can't be opened is emptied, said, and refilled by its owner."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import structlog
from tantivy import Document, Index, IndexWriter, Occur, Query, Schema, SchemaBuilder, Searcher

from connectors.keyword.analysis import (
    ANALYSIS,
    CONTEXT_BOOST,
    TITLE_BOOST,
    analyzer,
    encodable,
    indexed_text,
    prepared,
    query_terms,
)
from connectors.keyword.errors import KeywordIndexDamaged
from connectors.keyword.port import KeywordHit, KeywordPassage
from schemas.errors import Misconfigured
from schemas.index import DocKey

WRITER_HEAP_BYTES: Final = 48_000_000
# One: the view's own thread feeds it, and the other core answers queries.
WRITER_THREADS: Final = 1

_STAMP_FILE: Final = "stamp.txt"
_FILES: Final = "tantivy"
_TEXT: Final = "text"
_TITLE: Final = "title"
_CONTEXT: Final = "context"
_KEY: Final = "key"
_INDEX: Final = "index"
_ROW: Final = "row"

_log = structlog.get_logger(__name__)


def _schema() -> Schema:
    builder = SchemaBuilder()
    # No positions: nothing asks for phrases, and they would double the index.
    builder.add_text_field(_TEXT, tokenizer_name="passages", index_option="freq")
    builder.add_text_field(_TITLE, tokenizer_name="passages", index_option="freq")
    builder.add_text_field(_CONTEXT, tokenizer_name="passages", index_option="freq")
    builder.add_text_field(_KEY, stored=True, tokenizer_name="raw", index_option="basic")
    builder.add_text_field(_INDEX, tokenizer_name="raw", index_option="basic")
    builder.add_text_field(_ROW, stored=True, tokenizer_name="raw", index_option="basic")
    return builder.build()


class TantivyIndex:
    """Implements `KeywordIndex`. One process at a time; searches run beside the writer."""

    def __init__(self, folder: Path, stamp: str = "") -> None:
        """No I/O here; call `open`.

        Args:
            folder: its own, it is emptied when what is in it doesn't fit.
            stamp: names what the index belongs to; with another one it is emptied.
        """
        self._folder = folder
        self._stamp = f"{ANALYSIS} {stamp}"
        self._schema = _schema()
        self._is_fresh = False
        self._index: Index | None = None
        self._writer: IndexWriter | None = None

    def open(self) -> TantivyIndex:
        """Open or make it. Raises: Misconfigured, when another process has it open."""
        reason = self._unusable()
        if reason is None:
            try:
                self._attach()
                self._probe()
            except (ValueError, OSError) as exc:
                self.close()
                if "LockBusy" in str(exc) or "Lockfile" in str(exc):
                    msg = f"{self._folder}: another process has this keyword index open; give each its own"
                    raise Misconfigured(msg) from exc
                reason = f"damaged: {exc}"
            else:
                self._is_fresh = self._searcher().num_docs == 0
                return self
        self._wipe(reason)
        self._attach()
        self._is_fresh = True
        return self

    @property
    def is_fresh(self) -> bool:
        return self._is_fresh

    def replace(self, key: DocKey, passages: Sequence[KeywordPassage]) -> None:
        self.remove(key)
        name = encodable(str(key))
        with self._translated("writing"):
            for passage in passages:
                document = Document()
                document.add_text(_TEXT, indexed_text(passage.title, passage.text))
                if passage.title:
                    document.add_text(_TITLE, prepared(passage.title))
                document.add_text(_CONTEXT, prepared(passage.surroundings))
                document.add_text(_KEY, name)
                document.add_text(_INDEX, key.index)
                document.add_text(_ROW, passage.row_id)
                self._opened().add_document(document)

    def remove(self, key: DocKey) -> None:
        with self._translated("writing"):
            self._opened().delete_documents_by_term(_KEY, encodable(str(key)))

    def clear(self) -> None:
        with self._translated("clearing"):
            self._opened().delete_documents_by_query(Query.all_query())

    def commit(self) -> None:
        with self._translated("committing"):
            self._opened().commit()
            self._opened_index().reload()

    def search(self, query: str, limit: int, indexes: Collection[str] = ()) -> list[KeywordHit]:
        return self._search(query, limit, Query.term_set_query(self._schema, _INDEX, list(indexes)) if indexes else None)

    def search_within(self, query: str, limit: int, keys: Collection[DocKey]) -> list[KeywordHit]:
        if not keys:
            return []
        names = [encodable(str(key)) for key in keys]
        return self._search(query, limit, Query.term_set_query(self._schema, _KEY, names))

    def close(self) -> None:
        # Dropping them ends their threads and frees the lock; merges that were under way are begun anew some day.
        self._writer = None
        self._index = None

    def _search(self, query: str, limit: int, within: Query | None) -> list[KeywordHit]:
        with self._translated("searching"):
            searcher = self._searcher()
            terms = query_terms(query, lambda term: searcher.doc_freq(_TEXT, term))
            if not terms or limit <= 0:
                return []
            found = searcher.search(self._query(terms, within), limit, count=False).hits
            return [_hit(searcher.doc(address), score) for score, address in found]

    def _query(self, terms: list[str], within: Query | None) -> Query:
        clauses: list[tuple[Occur, Query]] = []
        for term in terms:
            clauses.append((Occur.Should, Query.term_query(self._schema, _TEXT, term, "freq")))
            for field, boost in ((_TITLE, TITLE_BOOST), (_CONTEXT, CONTEXT_BOOST)):
                in_field = Query.term_query(self._schema, field, term, "freq")
                clauses.append((Occur.Should, Query.boost_query(in_field, boost)))
        words = Query.boolean_query(clauses)
        if within is None:
            return words
        return Query.boolean_query([(Occur.Must, words), (Occur.Must, Query.const_score_query(within, 0.0))])

    def _unusable(self) -> str | None:
        """Why what is on disk must not be used; None when it may be."""
        if not self._folder.exists():
            return "there is none yet"
        stamp = self._folder / _STAMP_FILE
        found = stamp.read_text(errors="replace") if stamp.is_file() else None
        if found != self._stamp:
            return f"it is of {found!r}, wanted is {self._stamp!r}"
        return None if Index.exists(str(self._folder / _FILES)) else "incomplete"

    def _wipe(self, reason: str) -> None:
        if self._folder.exists():
            _log.warning("keyword index emptied; it is filled again from the view", folder=str(self._folder), reason=reason)
            shutil.rmtree(self._folder)
        (self._folder / _FILES).mkdir(parents=True)
        # Last: an index whose making was interrupted has no stamp.
        self._attach()
        (self._folder / _STAMP_FILE).write_text(self._stamp)
        self.close()

    def _attach(self) -> None:
        index = Index(self._schema, path=str(self._folder / _FILES))
        index.register_tokenizer("passages", analyzer())
        # By hand after each commit: watching the folder would be half a second late.
        index.config_reader(reload_policy="manual")
        self._writer = index.writer(WRITER_HEAP_BYTES, WRITER_THREADS)
        index.reload()
        self._index = index

    def _probe(self) -> None:
        """Read a little of every kind of file, so that damage shows now and not under a question."""
        searcher = self._searcher()
        for _, address in searcher.search(Query.all_query(), 1, count=False).hits:
            searcher.doc(address)

    def _searcher(self) -> Searcher:
        return self._opened_index().searcher()

    def _opened_index(self) -> Index:
        if self._index is None:
            msg = f"{self._folder}: the keyword index is not open"
            raise KeywordIndexDamaged(msg)
        return self._index

    def _opened(self) -> IndexWriter:
        if self._writer is None:
            msg = f"{self._folder}: the keyword index is not open"
            raise KeywordIndexDamaged(msg)
        return self._writer

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (ValueError, OSError) as exc:
            msg = f"{self._folder}: {doing} failed: {exc}"
            raise KeywordIndexDamaged(msg) from exc
        except BaseException as exc:
            # Rust code that meets impossible bytes panics, and its exception is no Exception.
            if type(exc).__name__ != "PanicException":
                raise
            msg = f"{self._folder}: {doing} failed: {exc}"
            raise KeywordIndexDamaged(msg) from exc


def _hit(document: Document, score: float) -> KeywordHit:
    return KeywordHit(str(document.get_first(_ROW)), DocKey.parse(str(document.get_first(_KEY))), score)
