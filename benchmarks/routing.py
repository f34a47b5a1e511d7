"""How well questions are routed: small talk against questions, and three corpora against each other.

    python -m benchmarks.routing --data ../shared/data

Uses the product's encoder and router. Small talk that the route's examples don't hold (questions/small-talk.txt) against
Banking77's questions, the same behind a greeting, SciFact's claims, questions on Milvus (questions/milvus.txt), and the benign
prompts of XSTest and NotInject. The corpora by questions/routes.yaml. Prints tables; `measure` returns them.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from connectors.embedding import Embedder, MemoryCache, create_embedder
from query_api.routing import Decision, Router, load_router
from schemas.settings import Settings

QUESTIONS: Final = Path(__file__).parent / "questions"
CORPORA: Final = {"bank": "Banking77 test", "papers": "SciFact claims", "database": "Milvus questions"}
NO_RETRIEVAL: Final = "no_retrieval"
SHOWN: Final = 20
GREETINGS: Final = (
    "Hi,",
    "Hello!",
    "Hey there,",
    "Good morning.",
    "Thanks! One more thing:",
    "Hi, how are you?",
    "Thank you so much for your help.",
    "Hello, I have a question.",
)


class Routed(NamedTuple):
    """One question, and what became of it."""

    text: str
    decision: Decision

    @property
    def is_searched(self) -> bool:
        return self.decision.reply is None


def measure(data: Path, settings: Settings | None = None) -> dict[str, Any]:
    """Both measurements. `data`: the folder with banking77, scifact and guardrails."""
    settings = settings or Settings()
    asked = read_questions(data)
    with tempfile.TemporaryDirectory() as folder:
        embedder = create_embedder(settings.embedding, Path(folder))
        try:
            vectors = {name: embedder.encode(texts) for name, texts in asked.items()}
            routed = {
                kind: {
                    name: [
                        Routed(text, router.decide(text, vector, ())) for text, vector in zip(texts, vectors[name], strict=True)
                    ]
                    for name, texts in asked.items()
                }
                for kind, router in routers(settings, embedder).items()
            }
        finally:
            embedder.close()
    return {
        "small_talk": {name: small_talk(found, is_talk=name == "small talk") for name, found in routed["default"].items()},
        "corpora": {name: dict(outcomes(found)) for name, found in routed["three corpora"].items()},
    }


def routers(settings: Settings, embedder: Embedder) -> Mapping[str, Router]:
    """What comes along, and the three corpora's routes over it."""
    cache = MemoryCache(1 << 26)
    query = settings.query.model_copy(update={"routes_file": QUESTIONS / "routes.yaml"})
    three = settings.model_copy(update={"query": query, "indexes": dict.fromkeys(CORPORA, settings.indexes["docs"])})
    return {"default": load_router(settings, embedder, cache), "three corpora": load_router(three, embedder, cache)}


def small_talk(routed: Sequence[Routed], *, is_talk: bool) -> dict[str, Any]:
    """How many went the wrong way, and some of them."""
    wrong = [found.text for found in routed if found.is_searched == is_talk]
    return {"questions": len(routed), "wrong": len(wrong), "share": len(wrong) / len(routed), "examples": wrong[:SHOWN]}


def outcomes(routed: Iterable[Routed]) -> Counter[str]:
    """Where they were sent: the indexes, joined; `all`; or `no_retrieval`."""
    return Counter(_sent_to(found.decision) for found in routed)


def _sent_to(decision: Decision) -> str:
    if decision.reply is not None:
        return NO_RETRIEVAL
    return "all" if decision.route.name == "all" else " + ".join(sorted(decision.route.indexes))


def read_questions(data: Path) -> dict[str, list[str]]:
    """All questions by the name of their set."""
    bank = _column(data / "banking77/test.csv", "text")
    with (data / "scifact/queries.test.jsonl").open(encoding="utf-8") as lines:
        claims = [json.loads(line)["text"] for line in lines]
    with (data / "guardrails/xstest_prompts.csv").open(encoding="utf-8") as lines:
        xstest = [row["prompt"] for row in csv.DictReader(lines) if row["label"] == "safe"]
    notinject = json.loads((data / "guardrails/NotInject_one.json").read_text(encoding="utf-8"))
    return {
        "small talk": _lines("small-talk.txt"),
        CORPORA["bank"]: bank,
        "Banking77 train": _column(data / "banking77/train.csv", "text"),
        "Banking77 test, behind a greeting": [f"{GREETINGS[n % len(GREETINGS)]} {text}" for n, text in enumerate(bank)],
        CORPORA["papers"]: claims,
        CORPORA["database"]: _lines("milvus.txt"),
        "XSTest, benign": xstest,
        "NotInject, benign": [item["prompt"] for item in notinject],
    }


def _column(path: Path, name: str) -> list[str]:
    with path.open(encoding="utf-8") as lines:
        return [row[name] for row in csv.DictReader(lines)]


def _lines(name: str) -> list[str]:
    return (QUESTIONS / name).read_text(encoding="utf-8").splitlines()


def show(found: Mapping[str, Any]) -> None:
    """The two tables, in Markdown."""
    print("| questions | | sent the wrong way | |\n|---|--:|--:|--:|")
    for name, row in found["small_talk"].items():
        print(f"| {name} | {row['questions']:,} | {row['wrong']} | {row['share']:.2%} |")
    sets = ["small talk", *CORPORA.values(), "XSTest, benign", "NotInject, benign"]
    columns = sorted({column for name in sets for column in found["corpora"][name]}, key=lambda c: (c.count("+"), c))
    print(f"\n| asked ╲ searched | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for name in sets:
        print(f"| {name} | {' | '.join(str(found['corpora'][name].get(column, 0)) for column in columns)} |")
    for name, row in found["small_talk"].items():
        print(f"\n{name}: {row['examples']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77/, scifact/ and guardrails/")
    parser.add_argument("--json", type=Path, help="write what was measured to this file as well")
    options = parser.parse_args()
    found = measure(options.data)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    show(found)


if __name__ == "__main__":
    main()
