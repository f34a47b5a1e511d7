"""Conversations: the last turn made to stand alone, by the model or by the turn before it."""

from query_api.conversation.condenser import Condenser

__all__ = ["Condenser"]
