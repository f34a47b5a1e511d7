"""A code that scripts can trust: a defect never looks like "I don't know", and what the machine forbids is said in one line."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragstream import workers
from ragstream.cli import run as running
from ragstream.cli.app import app

ANYWHERE = [
    pytest.param(["ask", "x"], id="ask"),
    pytest.param(["status"], id="status"),
    pytest.param(["inspect"], id="inspect"),
    pytest.param(["inspect", "a", "--json"], id="inspect-one"),
    pytest.param(["publish", "."], id="publish"),
    pytest.param(["topics", "create"], id="topics"),
]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server is named, no `up` of this user is found, and there is something to publish."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("RAG_KAFKA__BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*words: str) -> Result:
    """`ragstream WORDS`."""
    return CliRunner().invoke(app, list(words))


def of_system(code: int, path: str | None = None) -> OSError:
    """As the system raises it."""
    return OSError(code, os.strerror(code), path) if path is not None else OSError(code, os.strerror(code))


def failing_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Where every command that asks servers goes through."""

    def fail(_settings: object) -> None:
        raise error

    monkeypatch.setattr("ragstream.reach.reach", fail)


@pytest.mark.parametrize("words", ANYWHERE)
def test_a_defect_is_no_answer(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Its traceback, a line that says what it is, and 70: neither 1 nor anything that may be tried again."""
    failing_with(monkeypatch, KeyError("of a defect"))
    result = run(*words)
    assert result.exit_code == 70
    assert result.stdout == ""
    assert "Traceback" in result.stderr
    assert "this is a defect of ragstream (KeyError)" in result.stderr.splitlines()[-1]


def test_a_defect_of_doctor_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which would be 1."""

    def examine(_settings: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("ragstream.doctor.examine", examine)
    assert run("doctor").exit_code == 70


@pytest.mark.parametrize("words", ANYWHERE)
def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """Without a traceback."""
    failing_with(monkeypatch, KeyboardInterrupt())
    result = run(*words)
    assert (result.exit_code, "interrupted" in result.stderr, "Traceback" in result.stderr) == (130, True, False)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        pytest.param(of_system(errno.EACCES, "/there"), "/there: Permission denied", id="rights"),
        pytest.param(of_system(errno.EROFS, "/there"), "/there: Read-only file system", id="read-only"),
        pytest.param(of_system(errno.ENOTDIR, "/f/x"), "/f/x: Not a directory", id="a-file"),
        pytest.param(of_system(errno.ENOSPC), "No space left on device: free some disk", id="disk-full"),
        pytest.param(of_system(errno.EMFILE), "ulimit -n", id="open-files"),
    ],
)
def test_what_the_machine_forbids_is_no_defect(monkeypatch: pytest.MonkeyPatch, error: OSError, said: str) -> None:
    """One line that names the place, and 78."""
    failing_with(monkeypatch, error)
    result = run("status")
    assert result.exit_code == 78
    assert said in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "error", [FileNotFoundError(errno.ENOENT, "gone", "/x"), PermissionError(errno.EPERM, "no"), OSError("?")]
)
def test_other_failures_of_the_system_are_defects(monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    """Nobody named a file that isn't there: whoever looked for it should have known."""
    failing_with(monkeypatch, error)
    assert run("status").exit_code == 70


def test_a_key_for_a_folder_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Said with the folder to make; the key, which nobody could use, isn't shown."""
    monkeypatch.setenv("RAG_AUTH__API_KEYS_FILE", str(tmp_path / "etc" / "keys.yaml"))
    result = run("keys", "create", "--principal", "user:maya", "--scope", "ask", "--append")
    assert (result.exit_code, result.stdout) == (78, "")
    assert f"there is no folder {tmp_path / 'etc'}: make it first" in result.stderr


def test_a_key_for_something_that_is_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder, or bytes that are no text."""
    words = ("keys", "create", "--principal", "user:maya", "--scope", "ask", "--append")
    monkeypatch.setenv("RAG_AUTH__API_KEYS_FILE", str(tmp_path))
    assert run(*words).exit_code == 78
    (tmp_path / "keys.yaml").write_bytes(b"keys:\n\xff")
    monkeypatch.setenv("RAG_AUTH__API_KEYS_FILE", str(tmp_path / "keys.yaml"))
    result = run(*words)
    assert result.exit_code == 65
    assert "is not UTF-8 at byte 6" in result.stderr
    assert [path.name for path in tmp_path.iterdir() if "keys" in path.name] == ["keys.yaml"], "nothing is left beside it"


@pytest.mark.parametrize("command", ["up", "ingest", "serve"])
def test_a_data_directory_that_can_t_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str) -> None:
    """Said before anything is started, with the setting to change."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "file" / "data"))
    monkeypatch.setenv("RAG_MILVUS__URI", "http://127.0.0.1:1")
    if command != "up":
        monkeypatch.setenv("RAG_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    result = run(command)
    assert result.exit_code == 78, result.output
    assert "RAG_DATA_DIR" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_path_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Input that is rejected; what to name instead is said."""
    monkeypatch.setenv("RAG_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    result = run("publish", "nowhere")
    assert result.exit_code == 65
    assert "there is no nowhere" in result.stderr


def test_a_reader_that_has_gone_is_no_defect() -> None:
    """`ragstream … | head`: it ends quietly, as other tools do."""
    command = [sys.executable, "-m", "ragstream", "config", "show"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(30), said) == (141, b"")


@contextmanager
def heeded_interrupts() -> Iterator[None]:
    """Children begin with SIGINT's usual meaning, also where this suite was started in the background, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_while_a_server_is_silent(tmp_path: Path) -> None:
    """A real signal, a real process, and a server that never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        named = {"RAG_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{server.getsockname()[1]}", "RAG_KAFKA__REQUEST_TIMEOUT_S": "2"}
        command = [sys.executable, "-m", "ragstream", "ask", "Is anybody there?"]
        with heeded_interrupts(), subprocess.Popen(command, env={**os.environ, **named}, stderr=subprocess.PIPE) as process:
            connection, _ = server.accept()
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            said = process.stderr.read().decode()
            connection.close()
            assert process.wait(30) == 130, said
    assert "interrupted" in said
    assert "Traceback" not in said


def test_a_worker_that_was_killed_is_137() -> None:
    """As a shell has it; and which signal it was is said."""
    child = subprocess.Popen(["sleep", "60"])
    child.kill()
    assert workers._wait([child]) == 137
    assert running._ended(137) == "was killed (SIGKILL)"
    assert running._ended(17) == "ended with exit code 17"
