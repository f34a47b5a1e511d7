"""How well retrieval ranks, how it holds up under filters and access, and what it costs: through the product's path, in one run.

    python -m benchmarks.retrieval --data ../shared/data/scifact

The folder is in BEIR's form: corpus.jsonl[.xz] (_id, title, text), queries.test.jsonl (_id, text), qrels.test.tsv. Documents are
chunked and embedded as ingest does it; rows go into Milvus Lite (or a server: --milvus), manifests into the view, texts into
Tantivy; questions go through the gathering of evidence. Vectors are kept in --cache, which costs minutes the first time.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.keyword import judgements, lines, ndcg
from connectors.embedding import Embedder, create_embedder
from connectors.milvus import LiteServer, MilvusStore, Row
from flows.chunking import Chunker, ChunkLimits
from query_api.answer import Passage
from query_api.deadline import Deadline
from query_api.gathering import Gathering
from query_api.query import Query
from query_api.retrieval import Retriever
from query_api.view import IndexView
from schemas.acl import principals_of
from schemas.index import DOC, ChunkSpan, DocKey, IndexEntry, LogKey, Registers, SourcePosition, row_id, state_to_wire
from schemas.join import effect_of
from schemas.queries import QueryRequest
from schemas.settings import MilvusSettings, Settings
from tests.unit.query_api.view.memory_log import MemoryLog
from tests.waiting import wait_until

INDEX: Final = "docs"
SOURCE: Final = SourcePosition(0, 0)
SHARES: Final = {"100": 1, "10": 10, "1": 100}
CUT: Final = 10
ROWS_AT_ONCE: Final = 500
ENCODE_AT_ONCE: Final = 2_000
REPEATS: Final = 3
"""Of each question; the fastest counts, because other work on the machine is no cost of ours."""
NOW_MS: Final = 1_800_000_000_000


@dataclass(frozen=True)
class Tokenizer:
    """The encoder's tokens, for the chunker."""

    embedder: Embedder

    def count(self, texts: Sequence[str]) -> list[int]:
        return self.embedder.count_tokens(texts)


def manifests(folder: Path, settings: Settings, embedder: Embedder) -> list[IndexEntry]:
    """The corpus as ingest would publish it; `share` in the metadata and the allow-lists name 100, 10 and 1 % of it."""
    chunker = Chunker(Tokenizer(embedder), ChunkLimits.of(settings.chunking, model_tokens=embedder.max_tokens))
    made = []
    for number, document in enumerate(lines(folder / "corpus.jsonl")):
        key = DocKey(INDEX, document["_id"])
        shares = tuple(name for name, every in SHARES.items() if number % every == 0)
        allow = tuple(f"group:{name}" for name in shares)
        text = f"# {document['title']}\n\n{document['text']}"
        occurrences: Counter[str] = Counter()
        spans = []
        for chunk in chunker.chunk(text, "text/markdown"):
            name = row_id(key, chunk.digest, occurrences[chunk.digest], SOURCE)
            occurrences[chunk.digest] += 1
            spans.append(ChunkSpan(chunk.start, chunk.end, chunk.digest, name))
        state = effect_of(version=1, digest=f"{number:016x}", allow=allow)
        made.append(
            IndexEntry(
                index=INDEX,
                doc_id=key.doc_id,
                registers=Registers.model_validate(state_to_wire(state)),
                shown=True,
                title=document["title"],
                metadata={"share": shares},
                text=text,
                chunks=tuple(spans),
                source=SOURCE,
            )
        )
    return made


def vectors_of(entries: Sequence[IndexEntry], embedder: Embedder, cache: Path) -> NDArray[np.float32]:
    texts = [text for entry in entries for text in entry.passages()]
    if cache.exists() and len(found := np.load(cache)) == len(texts):
        return np.asarray(found, dtype=np.float32)
    parts = [embedder.encode(texts[start : start + ENCODE_AT_ONCE]) for start in range(0, len(texts), ENCODE_AT_ONCE)]
    np.save(cache, vectors := np.concatenate(parts))
    return vectors


class Corpus:
    """A read path over the documents; ask it."""

    def __init__(self, settings: Settings, view: IndexView, retriever: Retriever, rows: Sequence[str]) -> None:
        self._settings = settings
        self._gathering = Gathering(settings, view, retriever, lambda: NOW_MS)
        self._retriever = retriever
        self.rows = rows

    def ask(self, text: str, group: str = "group:100", filters: Mapping[str, Any] | None = None) -> Query:
        """The query with its evidence gathered; the question's vector is made before, so that the encoder isn't in the times."""
        request = QueryRequest(query_id="q", question=text, principals=(group,), filters=dict(filters or {}))
        query = Query(request, Deadline.after(30.0), principals_of((group,)), text, indexes=(INDEX,))

        async def gather() -> None:
            await self._retriever.vector_of(text, query.deadline)
            began = time.perf_counter()
            await self._gathering.gather(query)
            query.timings.seconds["gather"] = time.perf_counter() - began

        asyncio.run(gather())
        return query


@contextmanager
def corpus_of(folder: Path, cache: Path, uri: str, embedder: Embedder, settings: Settings) -> Iterator[tuple[Corpus, Any]]:
    entries = manifests(folder, settings, embedder)
    vectors = vectors_of(entries, embedder, cache / f"{folder.name}-vectors.npy")
    with ExitStack() as stack:
        store = MilvusStore(settings.milvus, uri or _lite(stack, settings.data_dir))
        stack.callback(store.close)
        collection = settings.collection(INDEX)
        store.ensure(collection, embedder.dimension)
        stack.callback(store.drop, collection)
        spans = [(entry, span) for entry in entries for span in entry.chunks]
        for start in range(0, len(spans), ROWS_AT_ONCE):
            part = enumerate(spans[start : start + ROWS_AT_ONCE], start)
            allows = [Row(s.row_id, vectors[n], str(e.key), e.state.allow_lists(())[0], 0) for n, (e, s) in part]
            mark = store.upsert(collection, allows)
        store.wait_visible(collection, mark, 30.0)
        topics = settings.kafka.topics
        log = MemoryLog({topics.documents: 1, settings.index_topic: 1, topics.floors: 1})
        for entry in entries:
            log.append(settings.index_topic, 0, LogKey(DOC, str(entry.key)).to_bytes(), entry.to_bytes())
        view = IndexView(settings, log)
        view.start()
        stack.callback(view.stop)
        wait_until(lambda: view.ready().is_ready, within_s=300, what="the view")
        retriever = Retriever(settings, store, lambda: view.keyword, embedder)
        stack.callback(retriever.close)
        yield Corpus(settings, view, retriever, [span.row_id for _, span in spans]), (entries, vectors)


def _lite(stack: ExitStack, folder: Path) -> str:
    server = LiteServer(folder / "milvus.db")
    stack.callback(server.close)
    return server.start()


def documents(passages: Sequence[Passage], score: Callable[[Passage], float | None]) -> list[str]:
    """Documents by their best passage, best first."""
    found = [(score(passage), passage.doc_key.doc_id) for passage in passages if score(passage) is not None]
    return list(dict.fromkeys(name for _, name in sorted(found, key=lambda pair: -(pair[0] or 0.0))))


def report_ranking(queries: Mapping[str, Query], relevant: Mapping[str, Mapping[str, int]]) -> None:
    def mean(rank: Callable[[Query], list[str]], measure: Callable[[Sequence[str], Mapping[str, int]], float]) -> float:
        return float(np.mean([measure(rank(queries[name]), relevant[name]) for name in relevant]))

    def recall(depth: int) -> Callable[[Sequence[str], Mapping[str, int]], float]:
        return lambda ranked, found: len(set(ranked[:depth]) & set(found)) / len(found)

    ways: dict[str, Callable[[Query], list[str]]] = {
        "dense": lambda query: documents(query.chunks, lambda passage: passage.vector_score),
        "BM25": lambda query: documents(query.chunks, lambda passage: passage.keyword_score),
        "fused": lambda query: documents(query.chunks, lambda passage: passage.score),
        "as passages": lambda query: list(dict.fromkeys(passage.doc_key.doc_id for passage in query.passages)),
    }
    print("ranking        NDCG@10   recall@10   recall@100")
    for name, rank in ways.items():
        print(f"{name:14} {mean(rank, ndcg):7.4f}   {mean(rank, recall(10)):9.4f}   {mean(rank, recall(100)):10.4f}")
    chunks, passages = (np.mean([len(getattr(query, kind)) for query in queries.values()]) for kind in ("chunks", "passages"))
    print(f"{chunks:.0f} chunks a question make {passages:.0f} passages")


def report_selective(corpus: Corpus, made: Any, embedder: Embedder, questions: Sequence[str]) -> None:
    entries, vectors = made
    of_chunk = [number for number, entry in enumerate(entries) for _ in entry.chunks]
    print("recall@10 against an exact search     by filter   by access   ms a question")
    for share, every in SHARES.items():
        allowed = np.array([place for place, number in enumerate(of_chunk) if number % every == 0])
        recalls: dict[str, list[float]] = {"filter": [], "access": []}
        took = []
        for text in questions:
            scores = vectors[allowed] @ embedder.encode_query(text)
            best = {corpus.rows[place] for place in allowed[np.argsort(-scores)[:CUT]]}
            asked = {
                "filter": corpus.ask(text, filters={"share": share}),
                "access": corpus.ask(text, f"group:{share}"),
            }
            for way, query in asked.items():
                by_vector = [(chunk.vector_score, chunk.row_id) for chunk in query.chunks if chunk.vector_score is not None]
                recalls[way].append(len(best & {row for _, row in sorted(by_vector, reverse=True)[:CUT]}) / len(best))
                took.append(query.timings.seconds["gather"] * 1000)
        by_filter, by_access = (float(np.mean(recalls[way])) for way in ("filter", "access"))
        print(f"{share:>3} % of {len(of_chunk)} rows {'':17} {by_filter:9.3f}   {by_access:9.3f}   {np.median(took):10.1f}")


def report_costs(asked: Sequence[Sequence[Query]]) -> None:
    """What is ours: the keyword arm, checks, fusion, joining. The vector arm is Milvus's; the arms run side by side."""
    print(f"cost, ms (best of {REPEATS})     p50     p95")
    ways: dict[str, Callable[[Query], float]] = {
        "keyword arm": lambda query: query.retrieved.keyword.took_ms if query.retrieved else 0.0,
        "check and assemble": lambda query: query.timings.seconds["assemble"] * 1000,
        "all but the vector arm": _own_ms,
        "vector arm (Milvus)": lambda query: query.retrieved.vector.took_ms if query.retrieved else 0.0,
        "all of it": lambda query: query.timings.seconds["gather"] * 1000,
    }
    for name, cost in ways.items():
        took = [min(map(cost, repeated)) for repeated in asked]
        print(f"{name:24} {np.percentile(took, 50):7.2f} {np.percentile(took, 95):7.2f}")


def _own_ms(query: Query) -> float:
    """Time without the vector arm, as if the keyword arm had run alone."""
    if query.retrieved is None:
        return 0.0
    longer = max(query.retrieved.vector.took_ms, query.retrieved.keyword.took_ms)
    return query.timings.seconds["gather"] * 1000 - longer + query.retrieved.keyword.took_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--milvus", default="", help="address of a server; empty: Milvus Lite")
    parser.add_argument("--questions", type=int, default=0, help="only so many of them; 0: all")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    relevant = judgements(options.data / "qrels.test.tsv")
    relevant = dict(list(relevant.items())[: options.questions or None])
    texts = {row["_id"]: row["text"] for row in lines(options.data / "queries.test.jsonl")}
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), milvus=MilvusSettings(collection_prefix="bench", search_timeout_s=20.0))
        embedder = create_embedder(settings.embedding, options.cache)
        with corpus_of(options.data, options.cache, options.milvus, embedder, settings) as (corpus, made):
            for name in list(relevant)[:50]:
                corpus.ask(texts[name])  # warm
            queries = {name: corpus.ask(texts[name]) for name in relevant}
            report_ranking(queries, relevant)
            report_costs([[corpus.ask(texts[name]) for _ in range(REPEATS)] for name in relevant])
            report_selective(corpus, made, embedder, [texts[name] for name in list(relevant)[:50]])


if __name__ == "__main__":
    main()
