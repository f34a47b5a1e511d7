"""How an answer was found, for people: candidates, arms, route, cache, model and timings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from ragstream.cli.console import out, print_rows

if TYPE_CHECKING:
    from schemas.queries import AnswerEvent, CacheExplanation, Explanation, Usage


def print_explanation(answer: AnswerEvent, explanation: Explanation) -> None:
    out.print()
    if explanation.candidates:
        rows = [
            (f"{c.index}/{c.doc_id}", c.chunk, str(c.version), _score(c.score), _score(c.vector_score), _score(c.keyword_score))
            for c in explanation.candidates
        ]
        print_rows(("candidate", "chunk", "version", "score", "vector", "keyword"), rows)
        out.print()
    for arm in explanation.arms:
        problem = f"  {arm.error}" if arm.error else ""
        took = f" in {arm.took_ms:.0f} ms" if arm.took_ms is not None else ""
        out.print(f"{arm.arm}: {arm.candidates} candidates{took}{problem}")
    if explanation.withheld is not None:
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(explanation.withheld.items())) or "nothing"
        out.print(f"withheld: {counts}")
    _print_route(answer, explanation)
    if explanation.cache is not None:
        _print_cache(explanation.cache)
    if answer.usage is not None:
        _print_usage(answer.usage, explanation.invented_citations)
    steps = ", ".join(f"{step} {took:.0f} ms" for step, took in explanation.timings_ms.items())
    took = f"{answer.took_ms:.0f} ms" if answer.took_ms is not None else "unknown"
    out.print(
        f"mode {answer.mode or '-'}, generation {explanation.generation or '-'}, took {took}{f' ({steps})' if steps else ''}"
    )


def _print_route(answer: AnswerEvent, explanation: Explanation) -> None:
    if answer.route is None:
        return
    scores = ", ".join(f"{name} {score:.2f}" for name, score in sorted(explanation.routes.items(), key=lambda pair: -pair[1])[:5])
    where = ", ".join(answer.route.indexes) or "nothing is looked up"
    out.print(Text(f"route {answer.route.name}: {where}{f' (scores: {scores})' if scores else ''}"))
    if answer.searched_as is not None:
        out.print(Text(f"searched as “{answer.searched_as.question}”, by {answer.searched_as.by}"))


def _print_cache(cache: CacheExplanation) -> None:
    likeness = (
        f", likeness {cache.similarity:.3f} of {cache.threshold:.3f} wanted" if cache.similarity and cache.threshold else ""
    )
    age = f", {cache.age_s:.0f} s old" if cache.age_s is not None else ""
    out.print(Text(f"cache: {cache.verdict}{likeness}{age}{f' ({cache.detail})' if cache.detail else ''}"))


def _print_usage(usage: Usage, invented: int) -> None:
    tokens = (
        f", {usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage.prompt_tokens or usage.completion_tokens else ""
    )
    cost = f", {usage.cost:.6f} {usage.currency}" if usage.cost else ""
    removed = f", {invented} invented citations removed" if invented else ""
    out.print(Text(f"written by {usage.model}{tokens}{cost}{removed}"))


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
