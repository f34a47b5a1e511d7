"""From passages to an answer: whether they support one at all, and the text with its citations."""

from query_api.answer.extractive import ExtractiveAnswerer
from query_api.answer.port import Answerer, Asking, Draft, Emit, GenerationFailed, Passage
from query_api.answer.support import Support, assess

__all__ = ["Answerer", "Asking", "Draft", "Emit", "ExtractiveAnswerer", "GenerationFailed", "Passage", "Support", "assess"]
