"""Adapters to outside systems, one package each. Import schemas, never each other."""
