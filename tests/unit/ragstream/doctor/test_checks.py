"""What doctor finds on this machine."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from ragstream.doctor import installation, machine
from ragstream.doctor.servers import check_kafka, check_milvus, check_redis
from schemas.settings import EmbeddingSettings, MilvusSettings, RedisSettings, Settings

ROOT = Path(__file__).parents[4]


def test_a_missing_distribution_is_a_finding() -> None:
    """With how to install it."""
    found = installation.check_distribution(Requirement("no-such-distribution-of-ours>=1"))
    assert (found.ok, found.detail) == (False, "not installed")
    assert "install" in found.remedy


def test_a_version_out_of_range_is_a_finding() -> None:
    """Both versions are named."""
    found = installation.check_distribution(Requirement("pydantic>=99"))
    assert not found.ok
    assert ">=99" in found.detail


def test_what_is_declared_is_what_is_imported_by_name() -> None:
    """No name of the table is left over from a dependency that went."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {re.split(r"[^A-Za-z0-9-]", text)[0] for text in declared}
    assert installation.MODULES.keys() <= names


def test_every_declared_package_is_found_under_the_name_it_is_imported_by() -> None:
    """A new dependency whose module is called otherwise needs a line in the table."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {Requirement(text).name.lower() for text in declared}
    modules = {name: installation.MODULES.get(name, name.replace("-", "_")) for name in names}
    missing = [name for name, module in modules.items() if module not in sys.modules and importlib.util.find_spec(module) is None]
    assert missing == []


def test_a_folder_that_can_t_be_made_is_a_finding(tmp_path: Path) -> None:
    """With the variable to change."""
    (tmp_path / "file").write_text("")
    found = machine.check_data_dir(tmp_path / "file" / "data")
    assert not found.ok
    assert "RAG_DATA_DIR" in found.remedy


def test_a_folder_that_can_be_made_is_none(tmp_path: Path) -> None:
    """It is made."""
    assert machine.check_data_dir(tmp_path / "data").ok


def test_a_model_that_loads_tells_its_dimension(tmp_path: Path) -> None:
    """With which collections are compared."""
    settings = Settings(data_dir=tmp_path, embedding=EmbeddingSettings(kind="hashing", dimension=64))
    assert machine.check_model(settings) == (machine.check_model(settings).finding, 64)


def test_a_model_that_is_not_there_is_a_finding(tmp_path: Path) -> None:
    """Nothing is downloaded."""
    (tmp_path / "empty").mkdir()
    settings = Settings(data_dir=tmp_path, embedding=EmbeddingSettings(model=str(tmp_path / "empty")))
    found = machine.check_model(settings)
    assert (found.finding.ok, found.dimension) == (False, None)


def test_misspelt_settings_and_missing_files_are_findings(tmp_path: Path) -> None:
    """One each."""
    settings = Settings(kafka={"ssl_ca_location": tmp_path / "no.pem"})
    found = list(machine.check_settings(settings, {"RAG_GENERATIONS": "x"}))
    assert [finding.ok for finding in found] == [False, False]


def test_without_servers_the_embedded_ones_are_named() -> None:
    """That is no fault."""
    for findings in (check_kafka(None), check_milvus(Settings(), None), check_redis(Settings())):
        assert all(finding.ok for finding in findings)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "milvus.db"])
def test_a_milvus_that_is_away_or_no_server_is_a_finding(uri: str) -> None:
    """With what to correct."""
    [found] = check_milvus(Settings(milvus=MilvusSettings(uri=uri)), None)
    assert not found.ok


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "nonsense"])
def test_a_redis_that_is_away_or_misnamed_is_a_finding(url: str) -> None:
    """The address, which may hold a password, isn't quoted."""
    [found] = check_redis(Settings(redis=RedisSettings.model_validate({"url": url})))
    assert not found.ok
