"""Bytewax dataflows: wiring in one file a flow, logic beside it, importable without Bytewax."""
