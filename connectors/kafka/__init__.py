"""Kafka through librdkafka: readers, writers, topics, and the in-process broker of the embedded mode.

Knows nothing of what the records mean.
"""
