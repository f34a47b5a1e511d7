"""Apache Kafka (KRaft, one node) as a process of the tests: plain and SASL listeners, jars fetched through Maven."""

from tests.servers.kafka._jars import KAFKA_VERSION, kafka_jars
from tests.servers.kafka._server import KafkaAddress, KafkaServer, SaslAddress

__all__ = ["KAFKA_VERSION", "KafkaAddress", "KafkaServer", "SaslAddress", "kafka_jars"]
