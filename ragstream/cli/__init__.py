"""The `ragstream` command. One module a subject; heavy parts are imported when a command needs them, so `--help` is quick."""

from ragstream.cli.app import main

__all__ = ["main"]
