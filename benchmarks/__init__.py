"""How fast, how fresh and how large: measured on real servers. `python -m benchmarks --help`."""
