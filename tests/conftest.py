"""Fixtures for every test; the servers' own live in tests/servers."""

pytest_plugins = ["tests.servers.plugin"]
