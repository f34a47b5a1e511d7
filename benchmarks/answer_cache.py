"""How often remembered answers are used and how often wrongly, beside plain similarity: Banking77's questions as a stream.

    python -m benchmarks.answer_cache [--data ../shared/data/banking77] [--cache FILE.npz]

Each test question is looked up over the help-centre corpus (the product's chunker, encoder, keyword index, fusion, joining and
answer cache; vectors are searched exactly) and remembered where it misses. A hit is wrong where the two questions' labels differ.
Thresholds are chosen on as many train questions: those that give the wanted share of hits there. `most right` is what no choice
of a threshold or a likeness exceeds: hits if each question were given a right answer wherever the rules leave one that is near.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.support import Corpus, Piece, Question, Tokenizer
from connectors.embedding import create_embedder
from flows.chunking import Chunker, ChunkLimits
from query_api.answer import Draft, Passage
from query_api.cache import AnswerCache, Lookup, evidence_of_all
from query_api.cache.evidence import rows_of
from query_api.cache.threshold import Bounds, bounds
from query_api.cache.wording import conflict_between
from query_api.joining import readable
from ragstream.corpus import articles
from schemas.index import DocKey
from schemas.queries import Citation
from schemas.settings import Settings

LOOK: Final = 20
SEED: Final = 7
WANTED: Final = (0.15, 0.25, 0.40, 0.50)
GRID: Final = tuple(round(0.96 - 0.03 * step, 2) for step in range(11))
FIXED: Final = (0.90, 0.86, 0.80)
NEAR: Final = 0.7
"""Below this cosine hits are by luck, whatever chooses them."""


class Asked(NamedTuple):
    text: str
    label: str
    vector: NDArray[np.float32]
    passages: list[Passage]


class Prompt(NamedTuple):
    """What of the ranked passages goes into the prompt: `most` at most, none weaker than `share` of the best."""

    most: int
    share: float

    def select(self, passages: Sequence[Passage]) -> list[Passage]:
        return [one for one in passages[: self.most] if one.score >= self.share * passages[0].score]


PROMPTS: Final = (Prompt(5, 0.0), Prompt(5, 0.4), Prompt(5, 0.6), Prompt(5, 0.85), Prompt(1, 0.0))
"""The first is the extractive answerer's, the second a language model's."""


class Point(NamedTuple):
    threshold: float
    count: int
    hits: int
    wrong: int

    @property
    def hit_rate(self) -> float:
        return self.hits / self.count

    @property
    def error(self) -> Bounds:
        return bounds(self.wrong, self.hits)

    def line(self) -> str:
        error = self.error
        return f"{self.threshold:.3f}  hits {self.hit_rate:6.1%}  wrong {error.share:6.2%}  [{error.low:.2%}, {error.high:.2%}]"


def read(folder: Path, split: str) -> list[tuple[str, str]]:
    with (folder / f"{split}.csv").open(encoding="utf-8", newline="") as lines:
        return [(row["text"], row["category"]) for row in csv.DictReader(lines)]


def prepare(folder: Path, kept: Path | None, workdir: Path) -> dict[str, list[Asked]]:
    """Both splits, shuffled, train cut to the length of test; every question with its ranked passages."""
    settings = Settings(data_dir=workdir)
    embedder = create_embedder(settings.embedding, workdir)
    chunker = Chunker(Tokenizer(embedder), ChunkLimits.of(settings.chunking, model_tokens=embedder.max_tokens))
    shown = {doc_id: article for doc_id, article in articles().items() if "*" in article.acl}
    pieces, spans = [], []
    for doc_id, article in shown.items():
        for place, chunk in enumerate(chunker.chunk(article.text, "text/markdown")):
            pieces.append(Piece(doc_id, article.title, place, chunk.text))
            spans.append((chunk.start, chunk.end))
    asked = {split: read(folder, split) for split in ("train", "test")}
    count = len(asked["test"])
    for split, rows in asked.items():
        order = np.random.default_rng(SEED).permutation(len(rows))[:count]
        asked[split] = [rows[place] for place in order]
    known = dict(np.load(kept)) if kept is not None and kept.is_file() else {}
    texts = {"pieces": [piece.text for piece in pieces]} | {split: [text for text, _ in rows] for split, rows in asked.items()}
    for name, given in texts.items():
        if name not in known or len(known[name]) != len(given):
            known[name] = embedder.encode(given)
    if kept is not None:
        np.savez(kept, **known)  # type: ignore[arg-type]
    corpus = Corpus(settings, pieces, known["pieces"], workdir / "keyword")

    def text_of(key: DocKey) -> str:
        return shown[key.doc_id].text

    def placed(chunk: Passage) -> Passage:
        start, end = spans[int(chunk.row_id)]
        return replace(chunk, start=start, end=end, text=text_of(chunk.doc_key)[start:end])

    def passages(text: str, vector: NDArray[np.float32]) -> list[Passage]:
        chunks = [placed(chunk) for chunk in corpus.passages(Question(text, vector, frozenset()))]
        return readable(chunks, text_of, settings.query.passage_tokens)[:LOOK]

    return {
        split: [
            Asked(text, label, vector, passages(text, vector)) for (text, label), vector in zip(rows, known[split], strict=True)
        ]
        for split, rows in asked.items()
    }


def plain(stream: Sequence[Asked], threshold: float) -> Point:
    """The nearest remembered question, if its cosine reaches the threshold."""
    kept = np.zeros((len(stream), stream[0].vector.size), np.float32)
    labels: list[str] = []
    hits = wrong = 0
    for one in stream:
        cosines = kept[: len(labels)] @ one.vector
        best = int(np.argmax(cosines)) if labels else -1
        if labels and cosines[best] >= threshold:
            hits += 1
            wrong += labels[best] != one.label
        else:
            kept[len(labels)] = one.vector
            labels.append(one.label)
    return Point(threshold, len(stream), hits, wrong)


def verified(
    stream: Sequence[Asked], threshold: float, prompt: Prompt, wrongly: Callable[[str, str, float], None] = lambda *_: None
) -> Point:
    """The answer cache as it is."""
    cache = AnswerCache(max_entries=len(stream), ttl_s=1e6, barred_ttl_s=1, threshold=lambda: threshold, now_ms=lambda: 1)
    labels: dict[str, str] = {}
    hits = wrong = 0
    for one in stream:
        chosen = prompt.select(one.passages)
        lookup = Lookup(one.text, one.vector, "scope", evidence_of_all(chosen))
        verdict = cache.find(lookup, lambda _: True)
        if verdict.entry is not None:
            hits += 1
            if labels[verdict.entry.id] != one.label:
                wrong += 1
                wrongly(one.text, verdict.entry.question, verdict.similarity or 0.0)
            continue
        first: Citation = chosen[0].citation(1)
        made = cache.remember(lookup, Draft("answer [1]", (first,)))
        if made is not None:
            labels[made] = one.label
    return Point(threshold, len(stream), hits, wrong)


def at(curve: Sequence[Point], wanted: float) -> float:
    """The threshold at which the hit rate is nearest to what is wanted, between the points measured."""
    found = sorted(curve, key=lambda point: point.hit_rate)
    return float(np.interp(wanted, [point.hit_rate for point in found], [point.threshold for point in found]))


def most_right(stream: Sequence[Asked], prompt: Prompt) -> float:
    """The hit rate if each question got a right answer wherever evidence and wording leave one with a cosine of `NEAR`."""
    rows = [rows_of(evidence_of_all(prompt.select(one.passages))) for one in stream]
    vectors = np.stack([one.vector for one in stream])
    kept: dict[str, list[int]] = defaultdict(list)
    hits = 0
    for place, one in enumerate(stream):
        by_label = np.array([at for at in kept[one.label] if rows[place] <= rows[at]], dtype=int)
        cosines = vectors[by_label] @ one.vector
        near = by_label[np.argsort(-cosines)[: int(np.sum(cosines >= NEAR))]]
        if any(not conflict_between(one.text, stream[at].text) for at in near):
            hits += 1
        else:
            kept[one.label].append(place)
    return hits / len(stream)


def main() -> None:
    """Prints the curves; `--json` writes them too."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    default = Path(os.environ.get("RAG_TEST_DATA", "../shared/data")) / "banking77"
    parser.add_argument("--data", type=Path, default=default, help=f"folder with train.csv and test.csv; default: {default}")
    parser.add_argument("--cache", type=Path, help="file that keeps the vectors")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    if not (given.data / "train.csv").is_file():
        parser.error(f"no train.csv in {given.data}; --data names the folder of Banking77")
    with tempfile.TemporaryDirectory() as folder:
        streams = prepare(given.data, given.cache, Path(folder))
    results: dict[str, list[list[float]]] = {}

    def tell(name: str, measure: Callable[[Sequence[Asked], float], Point]) -> None:
        train = [measure(streams["train"], threshold) for threshold in GRID]
        print(f"--- {name}; train")
        print("\n".join(point.line() for point in train))
        print(f"--- {name}; test at thresholds that gave these hit rates on train: {WANTED}; and at {FIXED}")
        chosen = [at(train, wanted) for wanted in WANTED if wanted <= max(p.hit_rate for p in train)]
        points = [measure(streams["test"], threshold) for threshold in (*chosen, *FIXED)]
        results[name] = [[*point, *point.error] for point in points]
        print("\n".join(point.line() for point in points), flush=True)

    tell("plain similarity", plain)
    for prompt in PROMPTS:
        name = f"verified, {prompt.most} passages, share {prompt.share}"
        print(f"--- {name}; most right: {most_right(streams['train'], prompt):.1%} on train", flush=True)
        tell(name, lambda s, t, p=prompt: verified(s, t, p))  # type: ignore[misc]
    examples: list[tuple[float, str, str]] = []
    prompt = Prompt(5, 0.85)
    verified(streams["test"], 0.90, prompt, lambda new, old, like: examples.append((like, new, old)))
    for like, new, old in sorted(examples, reverse=True)[:20]:
        print(f"    {like:.3f}  {new!r} was given the answer to {old!r}")
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
