"""`ragstream ask` with a signed token: where it may come from, and that it is shown nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ragstream.cli.app import app
from schemas.queries import MAX_SIGNED_TOKEN

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtYXlhIn0.c2lnbmVk"
NO_KAFKA = 78
WRONG_USAGE = 2


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No server is named and no `up` of this user is found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RAG_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("RAG_KAFKA__BOOTSTRAP_SERVERS", raising=False)


def ask(*words: str, stdin: str | bytes = "") -> Result:
    return CliRunner().invoke(app, ["ask", "who?", *words], input=stdin)


def test_a_token_from_a_file_from_standard_input_and_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All are taken, the last line's end too: what is missing then is a Kafka."""
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    given = [ask("--token-file", str(file)), ask("--token-file", "-", stdin=TOKEN)]
    monkeypatch.setenv("RAG_TOKEN", TOKEN)
    for result in [*given, ask()]:
        assert (result.exit_code, TOKEN in result.output) == (NO_KAFKA, False), result.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(b"", "empty", id="nothing"),
        pytest.param(b" \n", "empty", id="blank"),
        pytest.param(b"Bearer " + TOKEN.encode(), "without `Bearer`", id="a-header"),
        pytest.param(TOKEN.encode() + b"\n" + TOKEN.encode(), "nothing else", id="two"),
        pytest.param(b"\xff\xfe" + TOKEN.encode(), "nothing else", id="no-ascii"),
        pytest.param(b"\0" * 10, "nothing else", id="binary"),
        pytest.param(b"x" * (MAX_SIGNED_TOKEN + 1), f"longer than {MAX_SIGNED_TOKEN}", id="too-long"),
        pytest.param(b"x" * 5_000_000, f"longer than {MAX_SIGNED_TOKEN}", id="endless"),
    ],
)
def test_what_is_no_token_is_refused_and_not_shown(content: bytes, said: str, tmp_path: Path) -> None:
    """Wrong usage, which names the file."""
    file = tmp_path / "token"
    file.write_bytes(content)
    result = ask("--token-file", str(file))
    assert (result.exit_code, result.stdout) == (WRONG_USAGE, "")
    assert said in result.stderr
    assert str(file) in result.stderr
    assert TOKEN not in result.stderr
    assert len(result.stderr) < 1_000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """And a folder is no file."""
    for path in (tmp_path / "nowhere", tmp_path):
        result = ask("--token-file", str(path))
        assert result.exit_code == WRONG_USAGE
        assert str(path) in result.stderr


def test_no_word_of_the_command_is_a_token() -> None:
    """`ps` shows them to everybody: there is no such option."""
    result = ask("--token", TOKEN)
    assert result.exit_code == WRONG_USAGE
    assert TOKEN not in result.output


def test_who_asks_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token alone counts where there is one: whoever gives --as besides believes otherwise."""
    assert ask("--as", "user:ann", "--token-file", "-", stdin=TOKEN).exit_code == WRONG_USAGE
    monkeypatch.setenv("RAG_TOKEN", TOKEN)
    result = ask("--as", "user:ann")
    assert result.exit_code == WRONG_USAGE
    assert "RAG_TOKEN" in result.stderr
    assert TOKEN not in result.stderr
