"""How well the keyword index ranks, alone: NDCG@10 and recall@100 over a BEIR-style data set such as SciFact.

    python -m benchmarks.keyword --data ../shared/data/scifact

The folder holds corpus.jsonl[.xz] (_id, title, text), queries.test.jsonl (_id, text) and qrels.test.tsv.
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from connectors.keyword.port import KeywordPassage
from connectors.keyword.tantivy_index import TantivyIndex
from schemas.index import DocKey

DEPTH = 100
CUT = 10


def lines(path: Path) -> Iterator[dict[str, str]]:
    """JSON lines, packed or not."""
    packed = path.with_name(path.name + ".xz")
    if packed.exists():
        with lzma.open(packed, "rt", encoding="utf-8") as source:
            yield from map(json.loads, source)
    else:
        with path.open(encoding="utf-8") as source:
            yield from map(json.loads, source)


def judgements(path: Path) -> dict[str, dict[str, int]]:
    """Relevance by query and document."""
    found: dict[str, dict[str, int]] = {}
    for line in path.read_text().splitlines()[1:]:
        query, document, score = line.split("\t")
        found.setdefault(query, {})[document] = int(score)
    return found


def ndcg(ranked: Sequence[str], relevant: Mapping[str, int]) -> float:
    """Normalised discounted cumulative gain of the first ten."""
    gained = sum(relevant.get(name, 0) / math.log2(place + 2) for place, name in enumerate(ranked[:CUT]))
    best = sorted(relevant.values(), reverse=True)[:CUT]
    return gained / sum(score / math.log2(place + 2) for place, score in enumerate(best))


def main() -> None:
    """Index, ask, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    with tempfile.TemporaryDirectory() as folder:
        index = TantivyIndex(Path(folder) / "keyword").open()
        started = time.perf_counter()
        count = 0
        for row in lines(data / "corpus.jsonl"):
            index.replace(DocKey("docs", row["_id"]), [KeywordPassage(row["_id"], row["text"], row["title"])])
            count += 1
        index.commit()
        print(f"{count} passages indexed in {time.perf_counter() - started:.2f} s")
        questions = {row["_id"]: row["text"] for row in lines(data / "queries.test.jsonl")}
        relevant = judgements(data / "qrels.test.tsv")
        started = time.perf_counter()
        ranked = {name: [hit.row_id for hit in index.search(questions[name], DEPTH)] for name in relevant}
        took_ms = (time.perf_counter() - started) / len(relevant) * 1000
        index.close()
    gain = sum(ndcg(ranked[name], relevant[name]) for name in relevant) / len(relevant)
    recall = sum(len(set(ranked[name]) & set(found)) / len(found) for name, found in relevant.items()) / len(relevant)
    print(f"{len(relevant)} questions, {took_ms:.2f} ms each: NDCG@{CUT} {gain:.4f}, recall@{DEPTH} {recall:.4f}")


if __name__ == "__main__":
    main()
