"""The published AsyncAPI document, judged by AsyncAPI's own validator (npm's @asyncapi/parser, fetched once into .cache/)."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from schemas.publish import asyncapi
from tests.servers.cache import UnavailableError, fetched_once

HERE = Path(__file__).parent
FETCH_TIMEOUT_S = 240.0
WARNING = 1  # severities: 0 error, 1 warning, 2 information, 3 hint

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]


def _fetch(folder: Path) -> None:
    for name in ("package.json", "validate.mjs"):
        shutil.copy(HERE / name, folder)
    quiet = ["--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    try:
        done = subprocess.run(
            ["npm", "install", *quiet], cwd=folder, capture_output=True, text=True, check=False, timeout=FETCH_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        remedy = "check the network, then run the tests again"
        raise UnavailableError("AsyncAPI validator", f"npm did not fetch it within {FETCH_TIMEOUT_S:g} s", remedy) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        remedy = f"run `npm install` in a copy of {HERE}"
        raise UnavailableError("AsyncAPI validator", f"npm could not fetch it ({last})", remedy)


@pytest.fixture(scope="session")
def validator() -> Path:
    """The script, with its packages beside it. Skips where Node.js or npm can't be had."""
    try:
        for program in ("node", "npm"):
            if shutil.which(program) is None:
                raise UnavailableError("AsyncAPI validator", f"{program} is not on the path", "apt-get install nodejs npm")
        wanted = b"".join((HERE / name).read_bytes() for name in ("package.json", "validate.mjs"))
        return fetched_once(f"asyncapi-{hashlib.sha256(wanted).hexdigest()[:12]}", _fetch) / "validate.mjs"
    except UnavailableError as error:
        pytest.skip(str(error))


def _findings(validator: Path, document: dict[str, Any]) -> list[str]:
    done = subprocess.run(
        ["node", str(validator)], input=json.dumps(document), capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(done.stdout)
    return [f"{'.'.join(map(str, one['path']))}: {one['message']}" for one in found if one["severity"] <= WARNING]


def test_valid(validator: Path) -> None:
    """The document that is published has neither errors nor warnings."""
    assert _findings(validator, asyncapi()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda document: document["channels"].pop("documents"), id="a channel that an operation names"),
        pytest.param(lambda document: document["info"].pop("version"), id="a required field"),
        pytest.param(lambda document: document["components"]["schemas"].pop("DocumentChange"), id="a payload"),
    ],
)
def test_what_is_missing_is_found(validator: Path, break_it: Any) -> None:
    """The validator is really asked: without a part that is referred to, the document is refused."""
    document = asyncapi()
    break_it(document)
    assert _findings(validator, document)
