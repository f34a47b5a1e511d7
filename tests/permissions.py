"""docs/kafka-permissions.md as ACLs: a broker that forbids everything, a login for each row, and what the row says granted.

Nothing is repeated here: the rows are read from the page, so that a page that is wrong fails the tests that use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from confluent_kafka.admin import (  # type: ignore[attr-defined]  # reason: documented there
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from tests.markdown import ROOT
from tests.servers.kafka import KafkaServer

PAGE: Final = ROOT / "docs/kafka-permissions.md"
PASSWORD: Final = "tests-only"  # of brokers on 127.0.0.1 that live for one test
LOGINS: Final = {
    "upstream system": "upstream",
    "`ragstream ingest`": "ingest",
    "`ragstream serve`": "serve",
    "service that asks": "asker",
    "operator": "operator",
    "`ragstream topics create`": "creator",
}
"""A login for each row, by the row's first cell."""
NOBODY: Final = "nobody"
"""A login without any permission."""
GRANT_TIMEOUT_S: Final = 20.0

_TOPIC: Final = re.compile(r"`(rag\.[^`]+)`")
_BESIDES: Final = re.compile(r"(transactional id|topic|group|cluster)(?: `([^`]+)`)? \(([\w, ]+)\)")
_KINDS: Final = {
    "transactional id": ResourceType.TRANSACTIONAL_ID,
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
}
_OPERATIONS: Final = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_CLUSTER: Final = "kafka-cluster"


def authorizer() -> str:
    """Lines of server.properties: whoever logs in may do nothing but what is granted; the plain listener may do all."""
    users = " ".join(f'user_{login}="{PASSWORD}"' for login in (*LOGINS.values(), NOBODY))
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    return f"""
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:ANONYMOUS
listener.name.sasl_plaintext.plain.sasl.jaas.config={module} required {users};
"""


def grant_the_page(server: KafkaServer) -> None:
    """Grant every row to its login."""
    admin = AdminClient({"bootstrap.servers": server.bootstrap_servers})
    bindings = [binding for service, cells in rows().items() for binding in _bindings(LOGINS[service], *cells)]
    for granted in admin.create_acls(bindings).values():
        granted.result(GRANT_TIMEOUT_S)


def rows() -> dict[str, tuple[str, str, str]]:
    """The cells Read, Write and besides of each row, by its first cell."""
    table = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    _head, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {service: (read, write, besides) for service, read, write, besides in body}


def _bindings(login: str, read: str, write: str, besides: str) -> Iterator[AclBinding]:
    for name in _TOPIC.findall(read):
        yield _allow(login, ResourceType.TOPIC, name, AclOperation.READ)
    for name in _TOPIC.findall(write):
        yield _allow(login, ResourceType.TOPIC, name, AclOperation.WRITE)
    for kind, name, operations in _BESIDES.findall(besides):
        for operation in operations.split(", "):
            yield _allow(login, _KINDS[kind], name or _CLUSTER, _OPERATIONS[operation])


def _allow(login: str, kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    is_prefix = name.endswith("*") and name != "*"  # `*` alone is Kafka's own word for every name
    pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
    bare = name.removesuffix("*") if is_prefix else name
    return AclBinding(kind, bare, pattern, f"User:{login}", "*", operation, AclPermissionType.ALLOW)
