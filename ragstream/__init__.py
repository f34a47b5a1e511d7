"""The command line and the embedded stack: puts the parts together, holds no logic of theirs."""

__version__ = "0.1.0"
