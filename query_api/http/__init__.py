"""The HTTP interface: routes over an answering pipeline, OpenAI's among them, and the server."""

from query_api.http.app import HttpApp
from query_api.http.ports import DocumentSink, FeedbackSink, Identifies, Pipeline, Ports
from query_api.http.server import HttpService

__all__ = ["DocumentSink", "FeedbackSink", "HttpApp", "HttpService", "Identifies", "Pipeline", "Ports"]
