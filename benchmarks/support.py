"""How well retrieval ranks, and how well the evidence rule tells answerable questions from others, on SciFact.

    python -m benchmarks.support ../shared/data/scifact

Uses the product's encoder, chunker, keyword index, fusion, evidence rule and extractive answerer; vectors are searched
exactly. Questions are asked with their gold abstracts present, and with them removed. Vectors are kept in --cache.
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from connectors.embedding import Embedder, create_embedder
from connectors.keyword.surroundings import passages_of
from connectors.keyword.tantivy_index import TantivyIndex
from flows.chunking import Chunker, ChunkLimits
from query_api.answer import Passage, assess
from query_api.answer.extractive import extract
from query_api.fusion import fuse
from query_api.gathering import KEPT
from schemas.index import DocKey
from schemas.settings import Settings

INDEX: Final = "docs"
ENCODE_AT_ONCE: Final = 512
DEPTH: Final = 10


class Piece(NamedTuple):
    doc_id: str
    title: str
    position: int
    text: str


class Question(NamedTuple):
    text: str
    vector: NDArray[np.float32]
    gold: frozenset[str]


@dataclass(frozen=True)
class Tokenizer:
    """The encoder's tokens, for the chunker."""

    embedder: Embedder

    def count(self, texts: Sequence[str]) -> list[int]:
        return self.embedder.count_tokens(texts)


class Corpus:
    """Everything that a question is asked of."""

    def __init__(self, settings: Settings, pieces: list[Piece], vectors: NDArray[np.float32], folder: Path) -> None:
        self._settings = settings.query
        self._pieces = pieces
        self._vectors = vectors
        self._by_doc: dict[str, list[int]] = defaultdict(list)
        for row, piece in enumerate(pieces):
            self._by_doc[piece.doc_id].append(row)
        self._keyword = TantivyIndex(folder).open()
        for doc_id, rows in self._by_doc.items():
            texts = [(str(row), pieces[row].text) for row in rows]
            self._keyword.replace(DocKey(INDEX, doc_id), passages_of(pieces[rows[0]].title, texts))
        self._keyword.commit()

    def passages(self, question: Question, removed: frozenset[str] = frozenset()) -> list[Passage]:
        """What the checks would leave, best first."""
        hidden = [row for doc_id in removed for row in self._by_doc[doc_id]]
        cosines = self._vectors @ question.vector
        cosines[hidden] = -1.0
        best = np.argsort(-cosines)[: self._settings.candidates]
        vector = {int(row): float(cosines[row]) for row in best}
        hits = self._keyword.search(question.text, self._settings.candidates + len(hidden))
        shown = [hit for hit in hits if int(hit.row_id) not in hidden][: self._settings.candidates]
        keyword = {int(hit.row_id): hit.score for hit in shown}
        return [
            self._passage(fused.key, fused.score, fused.vector, fused.keyword)
            for fused in fuse(vector, keyword, self._settings.vector_weight)[:KEPT]
        ]

    def _passage(self, row: int, score: float, vector: float | None, keyword: float | None) -> Passage:
        piece = self._pieces[row]
        key = DocKey(INDEX, piece.doc_id)
        return Passage(
            key, str(row), piece.title, None, 1, piece.position, 0, len(piece.text), piece.text, score, vector, keyword
        )


def read_questions(folder: Path, embedder: Embedder) -> list[Question]:
    gold: dict[str, set[str]] = defaultdict(set)
    with (folder / "qrels.test.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if int(row["score"]) > 0:
                gold[row["query-id"]].add(row["corpus-id"])
    with (folder / "queries.test.jsonl").open(encoding="utf-8") as lines:
        asked = [json.loads(line) for line in lines]
    return [
        Question(query["text"], embedder.encode_query(query["text"]), frozenset(gold[str(query["_id"])]))
        for query in asked
        if gold[str(query["_id"])]
    ]


def read_pieces(folder: Path, settings: Settings, embedder: Embedder) -> list[Piece]:
    limits = ChunkLimits.of(settings.chunking, model_tokens=embedder.max_tokens)
    chunker = Chunker(Tokenizer(embedder), limits)
    pieces = []
    with lzma.open(folder / "corpus.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            document = json.loads(line)
            text = f"# {document['title']}\n\n{document['text']}"
            for position, chunk in enumerate(chunker.chunk(text, "text/markdown")):
                pieces.append(Piece(str(document["_id"]), document["title"], position, text[chunk.start : chunk.end]))
    return pieces


def vectors_of(pieces: list[Piece], embedder: Embedder, cache: Path) -> NDArray[np.float32]:
    if cache.exists():
        found: NDArray[np.float32] = np.load(cache)
        if len(found) == len(pieces):
            return found
    parts = [
        embedder.encode([piece.text for piece in pieces[start : start + ENCODE_AT_ONCE]])
        for start in range(0, len(pieces), ENCODE_AT_ONCE)
    ]
    vectors = np.concatenate(parts)
    np.save(cache, vectors)
    return vectors


def ndcg(ranked: list[Passage], gold: frozenset[str]) -> float:
    seen = list(dict.fromkeys(passage.doc_key.doc_id for passage in ranked))[:DEPTH]
    gain = sum(1 / math.log2(rank + 2) for rank, doc_id in enumerate(seen) if doc_id in gold)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(DEPTH, len(gold))))


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float:
    above = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    return above / (len(positive) * len(negative))


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


def report(corpus: Corpus, questions: list[Question], threshold: float) -> None:
    present = [corpus.passages(question) for question in questions]
    removed = [corpus.passages(question, question.gold) for question in questions]
    with_gold = [assess(question.text, found).score for question, found in zip(questions, present, strict=True)]
    without = [assess(question.text, found).score for question, found in zip(questions, removed, strict=True)]
    answered = sum(score >= threshold for score in with_gold) / len(questions)
    refused = sum(score < threshold for score in without) / len(questions)
    print(f"questions                    {len(questions)}")
    print(f"NDCG@10, fused               {np.mean([ndcg(p, q.gold) for p, q in zip(present, questions, strict=True)]):.3f}")
    print(f"AUROC gold present/removed   {auroc(with_gold, without):.3f}")
    print(f"balanced accuracy at {threshold:.2f}    {(answered + refused) / 2:.3f}")
    print(f"answered | gold present      {answered:.3f}")
    print(f"refused | gold removed       {refused:.3f}")
    for name, step in (("evidence rule", assess), ("extractive answer", extract)):
        took = [timed(lambda q=q, p=p, step=step: step(q.text, p)) for q, p in zip(questions, present, strict=True)]  # type: ignore[misc]
        print(f"{name:28} p50 {np.percentile(took, 50):.2f} ms, p95 {np.percentile(took, 95):.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scifact", type=Path, help="folder with corpus.jsonl.xz, queries.test.jsonl, qrels.test.tsv")
    parser.add_argument("--cache", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    settings = Settings()
    embedder = create_embedder(settings.embedding, options.cache)
    pieces = read_pieces(options.scifact, settings, embedder)
    print(f"passages                     {len(pieces)}")
    vectors = vectors_of(pieces, embedder, options.cache / "scifact-vectors.npy")
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(settings, pieces, vectors, Path(folder))
        report(corpus, read_questions(options.scifact, embedder), settings.query.min_support)


if __name__ == "__main__":
    main()
