"""The server fixtures' own rules: marks, given endpoints, and what happens where a server can't be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = """
def test_with_redis(redis_server):
    assert redis_server.url

def test_with_a_redis_of_its_own(redis_factory):
    assert redis_factory().url

def test_without(): pass
"""


SUITE_WITH_DATA = """
from tests.data import data_set

def test_with_redis_and_data(redis_server):
    assert data_set("history.jsonl").read_text() == "1"
"""


def run_suite(folder: Path, *arguments: str, suite: str = SUITE, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `suite` with the plugin, on a machine that has no redis-server."""
    (folder / "test_suite.py").write_text(suite)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n kafka\n redis\n milvus\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.servers.plugin", "-q", "-rA", str(folder), *arguments]
    given = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=25,
        cwd=Path(__file__).parents[3],
        env={**given, "PATH": "/nonexistent", **variables},
    )


def test_a_missing_server_skips_its_tests_and_says_how_to_get_it(tmp_path: Path) -> None:
    """One line: what is missing, what to do."""
    done = run_suite(tmp_path)
    assert "1 passed, 2 skipped" in done.stdout
    assert "no Redis: redis-server is not on the path. To get it: apt-get install redis-server" in done.stdout


def test_a_missing_server_fails_its_tests_where_servers_are_required(tmp_path: Path) -> None:
    """What continuous integration relies on."""
    done = run_suite(tmp_path, RAG_TEST_REQUIRE_SERVERS="1")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "skipped although RAG_TEST_REQUIRE_SERVERS is set" in done.stdout
    assert "1 failed, 1 passed, 1 error" in done.stdout


def test_missing_data_skips_also_where_servers_are_required(tmp_path: Path) -> None:
    """Nobody can be asked to install it: the line says which file, and how to name its folder."""
    given = {"RAG_TEST_REQUIRE_SERVERS": "1", "RAG_TEST_REDIS": "redis://127.0.0.1:1/0"}
    done = run_suite(tmp_path, suite=SUITE_WITH_DATA, **given)
    assert done.returncode == pytest.ExitCode.OK
    assert "history.jsonl is not here: name the folder that holds it with RAG_TEST_DATA" in done.stdout
    assert "1 skipped" in done.stdout
    (tmp_path / "history.jsonl").write_text("1")
    assert "1 passed" in run_suite(tmp_path, suite=SUITE_WITH_DATA, RAG_TEST_DATA=str(tmp_path), **given).stdout


def test_an_endpoint_given_by_settings_is_used(tmp_path: Path) -> None:
    """Nothing is started, so nothing is missing."""
    done = run_suite(tmp_path, "-k", "with_redis", RAG_TEST_REDIS="redis://127.0.0.1:1/0")
    assert "1 passed, 2 deselected" in done.stdout


def test_tests_are_marked_by_the_servers_their_fixtures_start(tmp_path: Path) -> None:
    """`-m 'not redis'` needs no mark in the test's own file."""
    done = run_suite(tmp_path, "-m", "not redis")
    assert "1 passed, 2 deselected" in done.stdout
