"""`python -m ragstream` is the `ragstream` command."""

from ragstream.cli import main

main()
