"""The command line without servers: names, help, exit codes, and what is said where."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from ragstream import __version__
from ragstream.cli.app import app
from ragstream.cli.configuration import env_line, values_for_shells
from ragstream.doctor import Finding
from schemas.settings import Settings, index_assignment, load_settings
from schemas.wire import INDEX_PATTERN, is_index_name

HEAVY = ("torch", "bytewax", "confluent_kafka", "pymilvus", "faust", "lmdb", "sentence_transformers")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server is named and no `up` of this user is found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("RAG_KAFKA__BOOTSTRAP_SERVERS", raising=False)


def run(*words: str) -> Result:
    """`ragstream WORDS`."""
    return CliRunner().invoke(app, list(words))


def test_every_command_of_the_contract_is_there_with_help() -> None:
    """Other people's scripts call these names."""
    commands = ["demo", "up", "ingest", "serve", "publish", "ask", "status", "inspect", "topics", "doctor", "config"]
    shown = run("--help").stdout
    for name in commands:
        assert f"\n  {name} " in shown
        assert run(name, "--help").exit_code == 0
    assert run("topics", "create", "--help").exit_code == run("config", "show", "--help").exit_code == 0


def test_the_version_is_shown() -> None:
    """And nothing else is done."""
    assert run("--version").stdout == f"ragstream {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    """So that it is quick."""
    code = f"import sys, ragstream.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        pytest.param(["publish"], 2, id="publish-without-path"),
        pytest.param(["publish", ".", "--acl", "everyone"], 2, id="acl-is-no-principal"),
        pytest.param(["publish", ".", "--acl", "role:operator"], 2, id="operator-in-no-list"),
        pytest.param(["publish", ".", "--doc-id", "x"], 2, id="doc-id-of-a-folder"),
        pytest.param(["publish", ".", "--delete", "--acl", "*"], 2, id="delete-with-acl"),
        pytest.param(["publish", ".", "--ttl", "0"], 2, id="ttl-0"),
        pytest.param(["publish", "."], 78, id="publish-to-nobody"),
        pytest.param(["ask", " "], 2, id="empty-question"),
        pytest.param(["ask", "x", "--as", "ann"], 2, id="as-is-no-principal"),
        pytest.param(["ask", "x" * 5_000], 2, id="question-too-long"),
        pytest.param(["ask", "x"], 78, id="ask-nobody"),
        pytest.param(["inspect", "--json", "--jsonl"], 2, id="json-twice"),
        pytest.param(["inspect", "--json"], 78, id="inspect-nothing"),
        pytest.param(["status"], 78, id="status-of-nothing"),
        pytest.param(["topics", "create"], 78, id="topics-nowhere"),
        pytest.param(["config", "show", "--env", "--json"], 2, id="two-formats"),
        pytest.param(["no-such-command"], 2, id="unknown-command"),
    ],
)
def test_what_can_t_be_done_ends_with_its_code_and_one_line(words: list[str], code: int) -> None:
    """On stderr; stdout is for results."""
    result = run(*words)
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert result.stderr


def test_an_index_ordered_by_producers_takes_no_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Files have no version."""
    monkeypatch.setenv("RAG_INDEXES__hr__VERSIONS", "producer")
    result = run("publish", str(tmp_path), "--index", "hr")
    assert result.exit_code == 2
    assert "version" in result.stderr


def test_a_misspelt_setting_is_warned_of_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the name that was meant; results stay clean."""
    monkeypatch.setenv("RAG_GENERATIONS", "g2")
    result = run("config", "show", "--json")
    assert "RAG_GENERATIONS" in result.stderr
    assert "RAG_GENERATION?" in result.stderr
    assert json.loads(result.stdout)["RAG_GENERATION"]["value"] == "g1"


def test_a_wrong_setting_names_its_variable_s_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 78."""
    monkeypatch.setenv("RAG_KAFKA__PARTITIONS", "none")
    result = run("status")
    assert result.exit_code == 78
    assert "kafka.partitions" in result.stderr


def test_settings_as_a_shell_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set is a line, defaults and secrets are comments."""
    monkeypatch.setenv("RAG_KAFKA__CLIENT_ID", "my client")
    monkeypatch.setenv("RAG_KAFKA__SASL_PASSWORD", "hunter2")
    lines = run("config", "show", "--env").stdout.splitlines()
    assert "RAG_KAFKA__CLIENT_ID='my client'" in lines
    assert "# RAG_GENERATION=g1" in lines
    assert not any("hunter2" in line for line in lines)


def test_what_is_shown_for_a_shell_sets_the_same_again(tmp_path: Path) -> None:
    """A real shell: indexes whose names it can't have in a variable's, and one that is there by its name alone, included."""
    indexes = {
        "hr": {"versions": "producer"},
        "plain": {},
        "team-it": {},
        "team-x": {"description": "Ann's and Bob's", "missing_acl": "everyone", "max_future_skew_s": 5},
    }
    made = Settings.model_validate({"indexes": indexes})
    lines = "\n".join(map(env_line, values_for_shells(made)))
    (tmp_path / "env").write_text(lines)
    read = "from schemas.settings import load_settings; print(load_settings().model_dump_json())"
    script = f"set -a; . {tmp_path / 'env'}; exec {sys.executable} -c '{read}'"
    shell = subprocess.run(
        ["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert Settings.model_validate_json(shell.stdout).indexes == made.indexes


@given(st.from_regex(INDEX_PATTERN, fullmatch=True).filter(is_index_name), st.sampled_from(["timestamp", "producer"]))
@settings(max_examples=10, deadline=None)
def test_what_errors_tell_to_set_is_what_a_shell_can_set(index: str, versions: str) -> None:
    """For any name that an index may have."""
    script = f"export {index_assignment(index, 'versions', versions)}; env -0"
    shell = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    environ = dict(line.split("=", 1) for line in shell.stdout.decode().split("\0") if line.startswith("RAG_"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        assert load_settings().indexes[index].versions == versions


def test_doctor_ends_with_1_when_something_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives the remedy, for people and for scripts."""
    findings = [Finding("a", True, "fine"), Finding("b", False, "broken", "mend it")]
    monkeypatch.setattr("ragstream.doctor.examine", lambda _settings: iter(findings))
    result = run("doctor")
    assert result.exit_code == 1
    assert "→ mend it" in result.stdout
    machine = run("doctor", "--json")
    assert machine.exit_code == 1
    assert json.loads(machine.stdout)["findings"][1] == {"part": "b", "ok": False, "detail": "broken", "remedy": "mend it"}
