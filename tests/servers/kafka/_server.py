"""The broker process: configuration written for fast tests, real behaviour everywhere else."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.servers.certificates import Authority, Certificate
from tests.servers.kafka._jars import kafka_jars
from tests.servers.ports import free_ports
from tests.servers.process import ServerFailedError, ServerProcess

SASL_USER = "ragstream"
SASL_PASSWORD = "tests-only"  # of a broker on 127.0.0.1 that lives for one test run
KEY_PASSWORD = "tests-only"  # locks the client's key, which lives as long
FORMAT_TIMEOUT_S = 60.0

# Any fixed base64 uuid: every broker starts from an empty directory, none ever meets another.
_CLUSTER_ID = "MkU3OEVBNTcwNTJENDM2Qg"

_PROPERTIES = """\
node.id=1
process.roles=broker,controller
controller.quorum.voters=1@127.0.0.1:{controller_port}
controller.listener.names=CONTROLLER
listeners={listeners},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners={listeners}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,TLS:SSL,MUTUAL_TLS:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}

sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
user_{user}="{password}";
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
required;

ssl.keystore.type=PEM
ssl.keystore.location={server_certificate}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.mutual_tls.ssl.client.auth=required

# As in production: a mistyped topic is an error, not a new topic.
auto.create.topics.enable=false

# One node.
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# Fewer internal partitions to create and to recover, no waiting for more members.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
group.initial.rebalance.delay.ms=0

# After kill -9 the broker can't register until its former life's session is over (9 s by default).
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500

# An abandoned transaction ends at its timeout, not up to 10 s later; compaction is looked for every second.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=16777216
"""


@dataclass(frozen=True, slots=True)
class SaslAddress:
    """A SASL_PLAINTEXT listener and the one user it knows, by PLAIN and by SCRAM-SHA-512."""

    bootstrap_servers: str
    username: str
    password: str


@dataclass(frozen=True, slots=True)
class TlsAddress:
    """A listener that speaks TLS, one that also asks for the client's certificate, and the PEM files that open both.

    The server's certificate is for 127.0.0.1 alone: under another name the broker is an impostor.
    """

    bootstrap_servers: str
    mutual_bootstrap_servers: str
    authority: Path
    client: Certificate
    key_password: str


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where a broker answers; `sasl` and `tls` are None for one that was given by settings."""

    bootstrap_servers: str
    sasl: SaslAddress | None = None
    tls: TlsAddress | None = None


class KafkaServer(ServerProcess):
    """A broker and controller in one process on free ports of 127.0.0.1."""

    name = "kafka"
    start_timeout_s = 90.0

    def __init__(self, home: Path, extra_properties: str = "") -> None:
        """`extra_properties` are further lines of server.properties; they win."""
        super().__init__(home)
        self._jars = kafka_jars()
        self._extra_properties = extra_properties
        self._config = home / "server.properties"
        self._data = home / "data"
        self.port, self._sasl_port, self._tls_port, self._mutual_tls_port, self._controller_port = free_ports(5)
        self._authority = Authority(home / "certificates", "authority")
        self._certificate = self._authority.issue("broker", "127.0.0.1")
        self._client_certificate = self._authority.issue("client", password=KEY_PASSWORD)

    @property
    def address(self) -> KafkaAddress:
        """What clients need to connect."""
        sasl = SaslAddress(f"127.0.0.1:{self._sasl_port}", SASL_USER, SASL_PASSWORD)
        tls = TlsAddress(
            f"127.0.0.1:{self._tls_port}",
            f"127.0.0.1:{self._mutual_tls_port}",
            self._authority.certificate,
            self._client_certificate,
            KEY_PASSWORD,
        )
        return KafkaAddress(self.bootstrap_servers, sasl, tls)

    @property
    def bootstrap_servers(self) -> str:
        """The plain listener."""
        return f"127.0.0.1:{self.port}"

    def prepare(self) -> None:
        """Write the configuration; format the data directory the first time."""
        listeners = {
            "PLAINTEXT": self.port,
            "SASL_PLAINTEXT": self._sasl_port,
            "TLS": self._tls_port,
            "MUTUAL_TLS": self._mutual_tls_port,
        }
        own = _PROPERTIES.format(
            listeners=",".join(f"{name}://127.0.0.1:{port}" for name, port in listeners.items()),
            controller_port=self._controller_port,
            data=self._data,
            server_certificate=self._certificate.both,
            authority=self._authority.certificate,
            user=SASL_USER,
            password=SASL_PASSWORD,
        )
        self._config.write_text(own + self._extra_properties)
        if not self._data.exists():
            self._format()

    def command(self) -> list[str]:
        """The broker, in a heap small enough to run beside everything else."""
        return [*self._java("-Xmx512m"), "kafka.Kafka", str(self._config)]

    def is_ready(self) -> bool:
        """Whether the broker is registered and answers metadata requests."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            return bool(admin.list_topics(timeout=1.0).brokers)
        except KafkaException:
            return False

    def _format(self) -> None:
        scram = f"SCRAM-SHA-512=[name={SASL_USER},password={SASL_PASSWORD}]"
        arguments = ["format", "-t", _CLUSTER_ID, "-c", str(self._config), "--add-scram", scram]
        done = subprocess.run(
            [*self._java("-Xmx128m"), "kafka.tools.StorageTool", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=FORMAT_TIMEOUT_S,
        )
        if done.returncode != 0:
            message = f"formatting Kafka's data directory failed:\n{done.stdout}\n{done.stderr}"
            raise ServerFailedError(message)

    def _java(self, heap: str) -> list[str]:
        logging = "-Dorg.slf4j.simpleLogger.showDateTime=true"
        return ["java", heap, logging, "-cp", f"{self._jars}/*"]
