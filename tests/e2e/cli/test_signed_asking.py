"""Where who asks is taken from signed tokens alone, `ragstream ask` shows one: from a file, standard input or the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.commands import Shell, Up, new_shell, up
from tests.unit.query_api.identity.tokens import AUDIENCE, ISSUER, Issuer

pytestmark = [pytest.mark.timeout(150), pytest.mark.slow]

QUESTION = ("ask", "How large is the zeppelin allowance?")
REJECTED = 65
UNKNOWN = 1


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Up]:
    """An `up` that believes only this issuer, with one document for group:hr."""
    folder = tmp_path_factory.mktemp("signed")
    keys = folder / "keys.json"
    keys.write_bytes(issuer.key_set())
    auth = {"JWT_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE, "JWKS_FILE": str(keys), "REQUIRE_SIGNED_QUERIES": "true"}
    with up(new_shell(folder, **{f"AUTH__{name}": value for name, value in auth.items()}), folder / "up.log") as whole:
        document = {
            "op": "upsert",
            "doc_id": "hr/zeppelin",
            "acl": ["group:hr"],
            "event_time": "2026-11-01T10:00:00Z",
            "content": {"text": "# Zeppelins\n\nThe zeppelin allowance is 40 marks.\n"},
        }
        whole.shell.run("publish", "-", stdin=json.dumps(document).encode())
        whole.caught_up()
        yield whole


@pytest.fixture
def asker(running: Up, tmp_path: Path) -> Shell:
    """Somebody who knows nothing of the issuer."""
    return Shell(tmp_path, {"XDG_STATE_HOME": running.shell.variables["XDG_STATE_HOME"]})


def test_whom_the_token_names_is_answered(running: Up, asker: Shell, issuer: Issuer) -> None:
    """From each of the three places; neither the answer nor the worker's log shows the token."""
    token = issuer.token()
    (asker.cwd / "token").write_text(f"{token}\n")
    answers = [
        asker.run(*QUESTION, "--token-file", "token"),
        asker.run(*QUESTION, "--token-file", "-", stdin=token.encode()),
        asker.having(TOKEN=token).run(*QUESTION),
    ]
    assert all("40 marks" in answer.out for answer in answers)
    shown = "".join(answer.out + answer.err for answer in answers) + running.log.read_text()
    assert token not in shown


def test_without_a_token_nothing_is_answered_and_the_remedy_is_said(running: Up, asker: Shell) -> None:
    """--as is not believed here, operators' neither."""
    for words in ((), ("--as", "group:hr"), ("--as", "role:operator")):
        refused = asker.run(*QUESTION, *words, expect=REJECTED)
        assert "40 marks" not in refused.out + refused.err
        assert "RAG_TOKEN" in refused.err
        assert "--token-file" in refused.err


def test_whom_the_token_does_not_name_learns_nothing(running: Up, asker: Shell, issuer: Issuer) -> None:
    """Another group: unknown. Expired, or signed by somebody else: rejected, and not shown."""
    assert "40 marks" not in asker.having(TOKEN=issuer.token(groups=["ops"])).run(*QUESTION, expect=UNKNOWN).out
    for token, said in ((issuer.token(exp=1_700_000_000), "expired"), (Issuer().token(), "signature")):
        refused = asker.having(TOKEN=token).run(*QUESTION, expect=REJECTED)
        assert said in refused.err
        assert token not in refused.out + refused.err
