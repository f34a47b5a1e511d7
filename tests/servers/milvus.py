"""Milvus standalone 2.3.5 as a process of the tests: the binary that the PyPI package `milvus` carries.

The package's own starter is not used: it neither kills nor pauses, and lets two instances collide on etcd's ports.
"""

import importlib.util
import lzma
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import yaml

from tests.servers.cache import UnavailableError, fetched_once
from tests.servers.ports import free_ports
from tests.servers.process import ServerProcess
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pymilvus import MilvusClient

SESSION_TTL_S = 5
CLIENT_TIMEOUT_S = 2.0

_COMPONENT_PORTS = (
    ("rootCoord", "port"),
    ("proxy", "internalPort"),
    ("queryCoord", "port"),
    ("queryNode", "port"),
    ("indexNode", "port"),
    ("dataCoord", "port"),
    ("dataNode", "port"),
)
_PLACEHOLDER = re.compile(r"\{\{\s*\w+(?:\(\w+\))?(?::\s*([^}]*?))?\s*\}\}")


@dataclass(frozen=True, slots=True)
class MilvusAddress:
    """Where a Milvus answers; `token` is empty where none is asked for."""

    uri: str
    token: str = ""


class MilvusServer(ServerProcess):
    """A Milvus with embedded etcd and local storage on free ports; takes about 700 MB and 8 s to start."""

    name = "milvus"
    start_timeout_s = 120.0
    # This old server takes 15 s and more over its farewell; what it has acknowledged survives without it.
    stop_timeout_s = 3.0

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self._binaries = milvus_binaries()
        ports = free_ports(4 + len(_COMPONENT_PORTS))
        self.port, self._health_port, *self._etcd_ports = ports[:4]
        self._component_ports = ports[4:]

    @property
    def address(self) -> MilvusAddress:
        """What clients need to connect."""
        return MilvusAddress(self.uri)

    @property
    def uri(self) -> str:
        """The server's gRPC endpoint, in the form clients take it."""
        return f"http://127.0.0.1:{self.port}"

    def wait_loaded(self, collection: str, within_s: float = 60.0) -> None:
        """Return once `collection` answers queries: after a kill the server loads it again, after it is ready."""
        wait_until(lambda: self._answers(collection), within_s=within_s, what=f"collection {collection} to be loaded")

    def prepare(self) -> None:
        """Write Milvus's and embedded etcd's configuration."""
        configs = self.home / "configs"
        configs.mkdir(exist_ok=True)
        (configs / "etcd.yaml").write_text(yaml.safe_dump(self._etcd_config()))
        (configs / "milvus.yaml").write_text(yaml.safe_dump(self._milvus_config()))
        shutil.copy(_package_data() / "glog.conf", configs / "glog.conf")

    def command(self) -> list[str]:
        """All of Milvus in one process."""
        return [str(self._binaries / "milvus"), "run", "standalone"]

    def environment(self) -> dict[str, str]:
        """Milvus finds its libraries, its health port and its configuration (beside the working directory) by these."""
        return {
            **os.environ,
            "DEPLOY_MODE": "STANDALONE",
            "METRICS_PORT": str(self._health_port),
            "MILVUSCONF": str(self.home / "configs"),
            "LD_LIBRARY_PATH": str(self._binaries),
        }

    def is_ready(self) -> bool:
        """Healthy by its own word, and a client gets an answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._health_port}/healthz", timeout=2) as answer:
                if b"OK" not in answer.read():
                    return False
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return self._succeeds(lambda client: client.list_collections(timeout=CLIENT_TIMEOUT_S))

    def _answers(self, collection: str) -> bool:
        return self._succeeds(
            lambda client: client.query(collection, filter="", output_fields=["count(*)"], timeout=CLIENT_TIMEOUT_S)
        )

    def _succeeds(self, call: "Callable[[MilvusClient], object]") -> bool:
        # Imported when needed: it brings pandas, two seconds that every run of any test would pay for.
        from pymilvus import MilvusClient  # noqa: PLC0415
        from pymilvus.exceptions import MilvusException  # noqa: PLC0415

        try:
            client = MilvusClient(self.uri, timeout=CLIENT_TIMEOUT_S)
        except (MilvusException, grpc.RpcError):
            return False
        try:
            call(client)
        except (MilvusException, grpc.RpcError):
            return False
        finally:
            client.close()
        return True

    def _milvus_config(self) -> dict[str, Any]:
        template = (_package_data() / "config.yaml.template").read_text()
        config: dict[str, Any] = yaml.safe_load(_PLACEHOLDER.sub(lambda found: found[1] or '""', template))
        data = self.home / "data"
        config["etcd"]["endpoints"] = f"127.0.0.1:{self._etcd_ports[0]}"
        config["etcd"]["config"] = {"path": str(self.home / "configs" / "etcd.yaml")}
        config["etcd"]["data"]["dir"] = str(data / "etcd")
        config["etcd"]["log"]["path"] = str(self.home / "etcd.log")
        config["localStorage"]["path"] = str(data)
        config["rocksmq"]["path"] = str(data / "rocksmq")
        config["log"]["file"]["rootPath"] = ""
        config["proxy"]["port"] = self.port
        # After kill -9 collections load again only when the former life's sessions are over: 30 s by default.
        config["common"]["session"]["ttl"] = SESSION_TTL_S
        for (component, key), port in zip(_COMPONENT_PORTS, self._component_ports, strict=True):
            config[component][key] = port
            config[component]["ip"] = "127.0.0.1"
        return config

    def _etcd_config(self) -> dict[str, Any]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        return {
            "name": "default",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }


def milvus_binaries() -> Path:
    """The folder that holds the unpacked server and its libraries.

    Raises:
        UnavailableError: when the package isn't installed.
    """
    _package_data()
    return fetched_once(f"milvus-{metadata.version('milvus')}", _unpack)


def _package_data() -> Path:
    spec = importlib.util.find_spec("milvus")
    if spec is None or spec.origin is None:
        remedy = "pip install -c constraints.txt '.[test-servers]' (Linux on x86-64)"
        server = "Milvus"
        raise UnavailableError(server, "the Python package `milvus`, which carries the server, isn't installed", remedy)
    return Path(spec.origin).parent / "data"


def _unpack(folder: Path) -> None:
    for packed in (_package_data() / "bin").glob("*.lzma"):
        unpacked = folder / packed.stem
        with lzma.open(packed) as source, unpacked.open("wb") as target:
            shutil.copyfileobj(source, target)
        unpacked.chmod(0o755)
