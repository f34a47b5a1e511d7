"""Fixtures for every test; the servers' own live in tests/servers."""

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

pytest_plugins = ["tests.servers.plugin"]


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A test that sets up logging (any command does) leaves no handler behind that writes to its own, closed, stderr."""
    root = logging.getLogger()
    handlers, level, configuration = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**configuration)


# Laws are judged by what holds, not by how busy the machine is; a test's own timeout ends one that hangs.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
