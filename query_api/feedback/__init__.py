"""What users think of answers: who asked what, and a thumbs-down that takes an answer out of the cache."""

from query_api.feedback.asked import Asked, AskedLog
from query_api.feedback.noting import Noting
from query_api.feedback.reader import FeedbackMetrics, FeedbackReader

__all__ = ["Asked", "AskedLog", "FeedbackMetrics", "FeedbackReader", "Noting"]
