"""Apache Kafka (KRaft, one node) as a process of the tests: plain, SASL and TLS listeners, jars fetched through Maven."""

from tests.servers.kafka._jars import KAFKA_VERSION, kafka_jars
from tests.servers.kafka._server import KafkaAddress, KafkaServer, SaslAddress, TlsAddress

__all__ = ["KAFKA_VERSION", "KafkaAddress", "KafkaServer", "SaslAddress", "TlsAddress", "kafka_jars"]
