"""Structured logs on stderr: JSON off a terminal, lines for people on one. Never document or question texts.

Libraries that log through the standard library (Faust, aiokafka, pymilvus) come out in the same form.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog

from schemas.settings import ObservabilitySettings

TEXT_FIELDS: Final = frozenset({"question", "text", "passage", "answer", "content"})
"""Fields of a log event that hold texts; left out unless `log_texts` is set."""

CHATTY: Final = ("faust", "mode", "aiokafka", "asyncio", "pymilvus", "urllib3", "httpx", "sentence_transformers")


def configure_logging(settings: ObservabilitySettings) -> None:
    """Set up logging for the process. Call once, in `main`; calling it again replaces the former setup."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if not settings.log_texts:
        shared.append(_without_texts)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=_rendering(as_json)))
    root = logging.getLogger()
    root.handlers = [handler]
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    root.setLevel(level)
    for name in CHATTY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _rendering(as_json: bool) -> list[structlog.typing.Processor]:
    drop_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    if as_json:
        return [drop_meta, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    return [drop_meta, structlog.dev.ConsoleRenderer()]


def _without_texts(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for field in TEXT_FIELDS & event.keys():
        del event[field]
    return event
