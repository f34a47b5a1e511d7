"""`ragstream serve` where its port is somebody else's: it ends and says so, in place of answering where nobody looks for it."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from schemas.settings import HttpSettings
from tests.e2e.cli.commands import Shell, new_shell

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NOBODY = "127.0.0.1:1"


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Servers are named; it ends before it asks them anything."""
    return new_shell(tmp_path, KAFKA__BOOTSTRAP_SERVERS=NOBODY, MILVUS__URI=f"http://{NOBODY}")


def test_the_default_port_is_not_given_up_for_another_one(shell: Shell) -> None:
    """Exit code 78, the port and its setting, and no word of having begun to serve."""
    port = HttpSettings().port
    with ExitStack() as held:
        with suppress(OSError):  # somebody else's already, which does as well
            held.enter_context(socket.create_server(("127.0.0.1", port)))
        ended = shell.having(HTTP__PORT="").run("serve", expect=78)
    assert f"127.0.0.1:{port}" in ended.err
    assert "RAG_HTTP__PORT" in ended.err
    assert "http_serving" not in ended.err + ended.out
