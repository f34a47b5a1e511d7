"""Answers remembered and used again, only while every passage of their prompt stands for this caller and the wording agrees.

docs/answer-cache.md says how it decides; docs/adr/0011 why.
"""

from query_api.cache.answers import AnswerCache, Verdict
from query_api.cache.entry import Entry, Lookup
from query_api.cache.evidence import Evidence, evidence_of, evidence_of_all, scope_of
from query_api.cache.flights import Flights, Flown
from query_api.cache.metrics import CacheMetrics
from query_api.cache.shadow import Shadows, agrees
from query_api.cache.sharing import SharedAnswers
from query_api.cache.standing import restated, stands
from query_api.cache.threshold import ThresholdGuard

__all__ = [
    "AnswerCache",
    "CacheMetrics",
    "Entry",
    "Evidence",
    "Flights",
    "Flown",
    "Lookup",
    "Shadows",
    "SharedAnswers",
    "ThresholdGuard",
    "Verdict",
    "agrees",
    "evidence_of",
    "evidence_of_all",
    "restated",
    "scope_of",
    "stands",
]
