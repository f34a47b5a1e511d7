"""The form of log lines."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from connectors.observability import configure_logging
from schemas.settings import ObservabilitySettings


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_json_off_a_terminal_without_texts(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON object a line on stderr; question and document texts are left out."""
    configure_logging(ObservabilitySettings())
    structlog.get_logger("query").info("answered", query_id="q1", question="who is ill?", took_ms=3)
    (line,) = lines(capsys)
    assert {
        "event": "answered",
        "query_id": "q1",
        "took_ms": 3,
        "level": "info",
        "logger": "query",
    }.items() <= line.items()
    assert "question" not in line


def test_texts_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """`log_texts` lets them through, for debugging."""
    configure_logging(ObservabilitySettings(log_texts=True))
    structlog.get_logger("query").info("answered", question="who?")
    assert lines(capsys)[0]["question"] == "who?"


def test_libraries_log_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    """Standard-library loggers come out as JSON too, with their exception."""
    configure_logging(ObservabilitySettings())
    try:
        raise ValueError("boom")
    except ValueError:
        logging.getLogger("aiokafka").exception("fetch failed")
    (line,) = lines(capsys)
    assert line["event"] == "fetch failed"
    assert "ValueError: boom" in str(line["exception"])
