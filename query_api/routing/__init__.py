"""Where a question goes: to which indexes, or to none because there is nothing to look up."""

from query_api.routing.examples import load_router, question_vectors
from query_api.routing.file import RoutesFile, read_routes
from query_api.routing.router import Decision, Router

__all__ = ["Decision", "Router", "RoutesFile", "load_router", "question_vectors", "read_routes"]
