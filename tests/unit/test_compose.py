"""docker-compose.kafka.yml and the Dockerfile, checked without Docker: shape, settings, commands, versions."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from connectors.llm.local import REMEDY
from schemas.settings import Settings
from tests.servers.kafka import KAFKA_VERSION
from tests.servers.redis import redis_binary

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.kafka.yml"
DOCKERFILE = ROOT / "Dockerfile"

Duration = Annotated[str, Field(pattern=r"^\d+(ms|s|m|h)$")]
Port = Annotated[str, Field(pattern=r"^127\.0\.0\.1:\d+:\d+$", description="nothing is offered to the network")]
NamedVolume = Annotated[str, Field(pattern=r"^[a-z]+:/[\w/]+$")]


class Strict(BaseModel):
    """What this file uses of the Compose specification; a key that is not in it is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class HealthCheck(Strict):
    """How Compose learns that a service can be used."""

    test: list[str] | None = None
    interval: Duration | None = None
    timeout: Duration | None = None
    start_period: Duration | None = None
    retries: int | None = None
    disable: bool = False


class Dependency(Strict):
    """What must be true of another service first."""

    condition: Literal["service_healthy", "service_completed_successfully"]


class Service(Strict):
    """One container."""

    image: str
    build: str | None = None
    command: list[str] | None = None
    environment: dict[str, str] = {}
    ports: list[Port] = []
    volumes: list[NamedVolume] = []
    depends_on: dict[str, Dependency] = {}
    healthcheck: HealthCheck | None = None
    restart: Annotated[str, Field(pattern=r"^(unless-stopped|on-failure:\d+)$")] | None = None
    security_opt: list[str] = []
    stop_grace_period: Duration | None = None


class Compose(BaseModel):
    """The file, but for its anchors."""

    model_config = ConfigDict(strict=True)

    name: str
    services: dict[str, Service]
    volumes: dict[str, None]


@pytest.fixture(scope="module")
def compose() -> Compose:
    """The parsed file."""
    return Compose.model_validate(yaml.safe_load(COMPOSE_FILE.read_text()))


def own_services(compose: Compose) -> dict[str, Service]:
    """Those that run ragstream."""
    return {name: service for name, service in compose.services.items() if service.build}


def test_volumes_are_declared_and_used(compose: Compose) -> None:
    """No state is lost with a container, no volume is left over."""
    used = {volume.partition(":")[0] for service in compose.services.values() for volume in service.volumes}
    assert used == set(compose.volumes)


def test_services_wait_for_services_that_can_say_they_are_ready(compose: Compose) -> None:
    """`service_healthy` of a service without a health check would wait for ever."""
    for service in compose.services.values():
        for name, dependency in service.depends_on.items():
            other = compose.services[name]
            if dependency.condition == "service_healthy":
                assert other.healthcheck is not None
                assert other.healthcheck.test
            else:
                assert other.restart is None, "what is restarted never completes"


def test_the_parts_are_all_there(compose: Compose) -> None:
    """Kafka, Milvus, Redis, the topics, both halves of ragstream."""
    assert set(compose.services) == {"kafka", "milvus", "redis", "topics", "ingest", "serve"}


def field_of(variable: str) -> object:
    """The setting that a RAG_ variable sets; fails when there is none."""
    model: Any = Settings
    *sections, name = variable.removeprefix("RAG_").lower().split("__")
    for section in sections:
        model = model.model_fields[section].annotation
    return model.model_fields[name]


def variables_of_the_image() -> dict[str, str]:
    """RAG_ variables that the Dockerfile sets."""
    return dict(re.findall(r"\b(RAG_\w+)=(\S+)", DOCKERFILE.read_text()))


def test_every_variable_is_a_setting(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ragstream's containers are given exists and is valid."""
    for service in own_services(compose).values():
        given = {**variables_of_the_image(), **service.environment}
        for variable, value in given.items():
            assert field_of(variable) is not None
            monkeypatch.setenv(variable, value)
        settings = Settings()
        assert settings.kafka.bootstrap_servers == "kafka:9092"
        assert settings.milvus.uri == "http://milvus:19530"
        assert settings.redis.url is not None
        assert settings.redis.url.get_secret_value() == "redis://redis:6379/0"


def test_addresses_name_services_and_their_ports(compose: Compose) -> None:
    """Host names are service names; the port is one the service listens on."""
    settings = next(iter(own_services(compose).values())).environment
    assert settings["RAG_KAFKA__BOOTSTRAP_SERVERS"] in compose.services["kafka"].environment["KAFKA_ADVERTISED_LISTENERS"]
    for address in (settings["RAG_MILVUS__URI"], settings["RAG_REDIS__URL"]):
        found = re.search(r"//(\w+):(\d+)", address)
        assert found is not None
        assert any(port.endswith(f":{found[2]}") for port in compose.services[found[1]].ports)


def test_published_ports_are_those_of_the_settings(compose: Compose) -> None:
    """Metrics and health of ingest and of the query workers, and the HTTP interface, can be reached from the host."""
    ports = {"ingest": [Settings().observability.ingest_port]}
    ports["serve"] = [Settings().http.port, Settings().observability.query_port]
    for service, published in ports.items():
        assert compose.services[service].ports == [f"127.0.0.1:{port}:{port}" for port in published]


def test_the_health_check_knows_the_settings_ports() -> None:
    """It reads no settings, so its defaults are the settings' own."""
    text = (ROOT / "deploy" / "healthcheck.py").read_text()
    observability = Settings().observability
    assert f'"RAG_OBSERVABILITY__INGEST_PORT": "{observability.ingest_port}"' in text
    assert f'"RAG_OBSERVABILITY__QUERY_PORT": "{observability.query_port}"' in text


@pytest.mark.timeout(60)
def test_every_command_exists(compose: Compose) -> None:
    """The command line knows what the containers are told to run."""
    for service in own_services(compose).values():
        assert service.command
        run = [sys.executable, "-c", "from ragstream.cli import main; main()", *service.command, "--help"]
        done = subprocess.run(run, capture_output=True, text=True, check=False, timeout=50, cwd=ROOT)
        assert done.returncode == 0, f"ragstream {' '.join(service.command)}: {done.stderr}"


def test_kafka_is_the_version_the_tests_run(compose: Compose) -> None:
    """Users run what was tested."""
    assert compose.services["kafka"].image == f"apache/kafka:{KAFKA_VERSION}"


@pytest.mark.redis
def test_redis_is_the_series_the_tests_run(compose: Compose) -> None:
    """The same major version as the server on this machine."""
    shown = subprocess.run([redis_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"v=(\d+)\.", shown)
    assert found is not None
    assert compose.services["redis"].image.startswith(f"redis:{found[1]}.")


def test_the_image_takes_extras_that_there_are() -> None:
    """Its weights are those that scripts/install takes, and what is said where the small model is missing works here."""
    text = DOCKERFILE.read_text()
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    offered = [*re.findall(r"EXTRAS=([\w,-]+)", text), *re.findall(r"EXTRAS=([\w,-]+)", REMEDY)]
    assert offered
    assert {extra for group in offered for extra in group.split(",")} <= extras.keys()
    assert "local-llm" in REMEDY.split("EXTRAS=")[1].split()[0].split(",")
    assert re.findall(r"^ARG WEIGHTS=(\S+)$", text, re.MULTILINE) == re.findall(
        r"^weights=(\S+)$", (ROOT / "scripts" / "install").read_text(), re.MULTILINE
    )


def test_no_stage_uses_a_build_argument_that_it_has_not() -> None:
    """An argument ends with its stage: used in the next one without a word, it is empty."""
    _, *stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    for stage in stages:
        declared = set(re.findall(r"^(?:ARG|ENV) (\w+)", stage, re.MULTILINE))
        assert set(re.findall(r"\$\{?([A-Z_]+)", stage)) - {"PATH"} <= declared


@pytest.mark.parametrize(("extras", "is_taken"), [("openvino", False), ("openvino,local-llm", True), ("not-local-llm", False)])
def test_what_the_small_model_needs_comes_with_its_extra_alone(tmp_path: Path, extras: str, is_taken: bool) -> None:
    """The image's own conditions, run by a shell whose installers only write down what they were told."""
    lines = DOCKERFILE.read_text().replace("\\\n", " ").splitlines()
    conditions = [line.removeprefix("RUN ") for line in lines if line.startswith("RUN case")]
    assert len(conditions) == 2
    for name in ("uv", "apt-get", "rm"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/told\n')
        (tmp_path / name).chmod(0o755)
    environment = {"EXTRAS": extras, "WEIGHTS": "the-weights==1", "PATH": str(tmp_path)}
    for condition in conditions:
        subprocess.run(["/bin/sh", "-c", condition], check=True, timeout=10, env=environment)
    told = (tmp_path / "told").read_text() if (tmp_path / "told").exists() else ""
    assert ("the-weights==1" in told, "libgomp1" in told) == (is_taken, is_taken)


def test_the_image_offers_commands_that_can_be_reached() -> None:
    """`up` listens on loopback: in a container nobody would reach it."""
    offered = re.findall(r"`docker run ragstream (\w+)", DOCKERFILE.read_text())
    assert offered
    assert "up" not in offered


def test_the_image_holds_every_package_and_a_supported_python() -> None:
    """What pyproject.toml packs is copied; the base image's Python is in its range."""
    text = DOCKERFILE.read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for pattern in project["tool"]["setuptools"]["packages"]["find"]["include"]:
        package = pattern.rstrip("*")
        assert f"COPY {package} {package}\n" in text
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()
    assert set(re.findall(r"^FROM python:(\d\.\d+)-slim", text, re.MULTILINE)) == {"3.11"}
    assert project["project"]["requires-python"] == ">=3.11,<3.13"
