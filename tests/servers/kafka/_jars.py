"""Kafka's jars: fetched once through Maven, the version read from the pom beside this file."""

import re
import shutil
import subprocess
from pathlib import Path

from tests.servers.cache import UnavailableError, fetched_once

POM = Path(__file__).with_name("pom.xml")
FETCH_TIMEOUT_S = 240.0
OLDEST_JAVA = 17

_SERVER = "Apache Kafka"


def _pom_version() -> str:
    found = re.search(r"<artifactId>kafka_[\d.]+</artifactId>\s*<version>([^<]+)</version>", POM.read_text())
    if found is None:
        message = f"{POM} names no kafka version"
        raise ValueError(message)
    return found[1]


KAFKA_VERSION = _pom_version()


def kafka_jars() -> Path:
    """The folder that holds the broker's jars.

    Raises:
        UnavailableError: when Java, Maven or Maven's repository can't be had.
    """
    _require_java()
    return fetched_once(f"kafka-{KAFKA_VERSION}", _fetch)


def _require_java() -> None:
    remedy = f"apt-get install openjdk-{OLDEST_JAVA}-jre-headless maven"
    java = shutil.which("java")
    if java is None:
        raise UnavailableError(_SERVER, "java is not on the path", remedy)
    shown = subprocess.run([java, "-version"], capture_output=True, text=True, check=True, timeout=30).stderr
    found = re.search(r'version "(\d+)', shown)
    if found is None or int(found[1]) < OLDEST_JAVA:
        first_line = shown.partition("\n")[0]
        raise UnavailableError(_SERVER, f"Java {OLDEST_JAVA} or later is needed, {java} is {first_line}", remedy)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        missing = f"its jars are not in .cache/kafka-{KAFKA_VERSION} and mvn, which fetches them, is not on the path"
        raise UnavailableError(_SERVER, missing, "apt-get install maven")
    command = [maven, "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        missing = f"Maven did not fetch its jars within {FETCH_TIMEOUT_S:g} s"
        raise UnavailableError(_SERVER, missing, "check the network, then run the tests again") from error
    if done.returncode != 0:
        last = (done.stdout.strip() or done.stderr.strip()).partition("\n")[0]
        raise UnavailableError(_SERVER, f"Maven could not fetch its jars ({last})", f"run {' '.join(command)}")
