"""Apache Kafka, Redis and Milvus as processes of the tests; `python -m tests.servers` starts them by hand."""
