"""Fixtures for every test; the servers' own live in tests/servers."""

from hypothesis import settings

pytest_plugins = ["tests.servers.plugin"]

# Laws are judged by what holds, not by how busy the machine is; a test's own timeout ends one that hangs.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
