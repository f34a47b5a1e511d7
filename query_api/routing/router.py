"""The decision where a question goes, from its vector and its words. Pure.

Not to look a real question up is the worst that can happen here, to look small talk up costs little (there is no evidence for
it). So a route that looks nothing up must win twice: by its score, and by how far the question stands from everything that
is looked up. Every word that none of its examples has asks for more of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from connectors.embedding.port import Matrix, Vector
from query_api.answer.terms import STOP_WORDS, stem, words
from query_api.routing.file import ALL, BACKGROUND, REQUEST, RoutesFile, RouteSpec
from schemas.queries import Route

LEAST_LEAD: Final = 0.05
"""By how much a route that looks nothing up must be nearer than anything that is looked up."""
NEW_WORD: Final = 0.05
"""What each word that none of the route's examples has adds to the score and the lead it must have."""
NEW_WORDS_MAX: Final = 1
"""With more of them it is about something else."""
CLOSE: Final = 0.05
"""Routes this near to the best one are searched as well: a question that fits two is looked up in both."""

_SEEN_ANYWHERE: Final = frozenset(map(stem, STOP_WORDS))


class Decision(NamedTuple):
    """Where a question goes.

    Attributes:
        reply: what is said in place of looking anything up; None: `route.indexes` are searched.
        scores: how near the question is to each route (and to the background), in [-1, 1].
    """

    route: Route
    reply: str | None
    scores: dict[str, float]


class _Candidate(NamedTuple):
    name: str
    spec: RouteSpec
    score: float


class Router:
    """Decides by the nearest example. Holds the examples' vectors; safe to use from several threads.

    Args:
        routes: all routes.
        vectors: for every text of `routes`, the vector that a question of these words has, of length 1.
        indexes: all indexes there are, in the order in which they are searched by default.
        min_score: what a route that names no `min_score` must reach.
    """

    def __init__(self, routes: RoutesFile, vectors: Mapping[str, Vector], indexes: Sequence[str], min_score: float) -> None:
        self._indexes = tuple(indexes)
        self._min_score = min_score
        self._routes = dict(routes.in_use)
        self._matrices = {name: _stacked(spec.texts, vectors) for name, spec in self._routes.items()}
        self._background = _stacked(routes.background, vectors)
        self._known = {
            name: frozenset(stem(word) for example in spec.examples for word in words(example)) | _SEEN_ANYWHERE
            for name, spec in self._routes.items()
            if spec.looks_nothing_up
        }

    def decide(self, question: str, vector: Vector | None, requested: tuple[str, ...]) -> Decision:
        """Where `question` goes.

        Args:
            vector: the question's; None where the encoder failed: everything is searched then.
            requested: indexes that the request names. They are searched whatever the question is.
        """
        if requested:
            return Decision(Route(name=REQUEST, indexes=requested), None, {})
        if vector is None:
            return Decision(Route(name=ALL, indexes=self._indexes), None, {})
        scores = {name: _nearest(matrix, vector) for name, matrix in self._matrices.items() if len(matrix)}
        background = _nearest(self._background, vector) if len(self._background) else -1.0
        ranked = sorted((_Candidate(name, self._routes[name], score) for name, score in scores.items()), key=lambda c: -c.score)
        searched = [candidate for candidate in ranked if not candidate.spec.looks_nothing_up]
        shown = {name: round(score, 4) for name, score in (scores | {BACKGROUND: background}).items()}
        nearest_searched = max([background, *(candidate.score for candidate in searched)])
        for candidate in ranked:
            if candidate.spec.looks_nothing_up and self._is_beyond_doubt(candidate, question, nearest_searched):
                return Decision(_route(candidate, ()), candidate.spec.reply, shown)
        return Decision(self._searched(searched), None, shown)

    def _is_beyond_doubt(self, candidate: _Candidate, question: str, nearest_searched: float) -> bool:
        new_words = len({stem(word) for word in words(question)} - self._known[candidate.name])
        if new_words > NEW_WORDS_MAX:
            return False
        extra = NEW_WORD * new_words
        leads_by = candidate.score - nearest_searched
        return candidate.score >= self._least(candidate.spec) + extra and leads_by >= LEAST_LEAD + extra

    def _searched(self, ranked: Sequence[_Candidate]) -> Route:
        if not ranked or ranked[0].score < self._least(ranked[0].spec):
            return Route(name=ALL, indexes=self._indexes, score=round(ranked[0].score, 4) if ranked else None)
        best = ranked[0]
        close = [candidate for candidate in ranked if candidate.score >= best.score - CLOSE]
        return _route(best, tuple(dict.fromkeys(index for candidate in close for index in candidate.spec.indexes)))

    def _least(self, spec: RouteSpec) -> float:
        return self._min_score if spec.min_score is None else spec.min_score


def _route(candidate: _Candidate, indexes: tuple[str, ...]) -> Route:
    return Route(name=candidate.name, indexes=indexes, score=round(candidate.score, 4))


def _stacked(texts: Sequence[str], vectors: Mapping[str, Vector]) -> Matrix:
    return np.stack([vectors[text] for text in texts]) if texts else np.zeros((0, 0), np.float32)


def _nearest(matrix: Matrix, vector: Vector) -> float:
    return float(np.max(matrix @ vector))
