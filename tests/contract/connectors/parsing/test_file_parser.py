"""The real parser with its real child process: every format, and every way a file can misbehave."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.parsing import FileParser, ParseRejected
from schemas.settings import ParsingSettings
from tests.contract.connectors.parsing.files import CSV, DOCX, HTML, IPYNB, MAKERS, PDF, docx, html, pdf
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[4]
SENTENCE = "A transfer costs one euro"
TIMEOUT_S = 20.0
# Takes markitdown many seconds and much memory, though it is well-formed.
SLOW_PAGE = b"<ul>" + b"<li><b>x</b></li>" * 400_000 + b"</ul>"


@pytest.fixture(scope="module")
def parser() -> Iterator[FileParser]:
    shared = FileParser(ParsingSettings())
    yield shared
    shared.close()


@pytest.fixture
def limited() -> Iterator[FileParser]:
    """A parser that gives a file 96 MiB and few characters."""
    parser = FileParser(ParsingSettings(memory_mib=96, max_output_chars=10_000))
    yield parser
    parser.close()


def reason_for(parser: FileParser, data: bytes, media_type: str, timeout_s: float = TIMEOUT_S) -> str:
    with pytest.raises(ParseRejected) as caught:
        parser.parse(data, media_type, timeout_s=timeout_s)
    return caught.value.reason


def assert_parses(parser: FileParser) -> None:
    assert SENTENCE in parser.parse(html(SENTENCE), HTML, timeout_s=TIMEOUT_S).text


def child_of(parser: FileParser) -> int:
    parser.start()
    assert parser._child is not None
    return parser._child.pid


@pytest.mark.parametrize("media_type", MAKERS, ids=lambda media_type: media_type.rpartition(".")[2])
def test_every_format_gives_markdown(parser: FileParser, media_type: str) -> None:
    """The text of each supported format comes out as Markdown with uniform newlines."""
    parsed = parser.parse(MAKERS[media_type](SENTENCE), media_type, timeout_s=TIMEOUT_S)
    assert parsed.media_type == "text/markdown"
    assert SENTENCE in parsed.text
    assert "\r" not in parsed.text


def test_structure_survives(parser: FileParser) -> None:
    """Headings and tables are Markdown's own; scripts are dropped."""
    assert parser.parse(docx(SENTENCE), DOCX, timeout_s=TIMEOUT_S).text.startswith("# Fees\n")
    assert "| --- | --- |" in parser.parse(b"a,b\n1,2\n", CSV, timeout_s=TIMEOUT_S).text
    assert "x()" not in parser.parse(html(SENTENCE), HTML, timeout_s=TIMEOUT_S).text


def test_a_stated_title_comes_along(parser: FileParser) -> None:
    """A file's own title is reported, for citations."""
    assert parser.parse(html(SENTENCE), HTML, timeout_s=TIMEOUT_S).title == "Prices"
    assert parser.parse(pdf(SENTENCE), PDF, timeout_s=TIMEOUT_S).title is None


@pytest.mark.parametrize(
    ("data", "media_type"),
    [(b"%PDF-1.4 and nothing else", PDF), (pdf("x")[:80], PDF), (b"hello", DOCX), (b"{not json", IPYNB), (b"[1]", IPYNB)],
    ids=["no-pages", "cut", "no-archive", "no-json", "no-notebook"],
)
def test_broken_files_are_rejected_and_the_next_parses(parser: FileParser, data: bytes, media_type: str) -> None:
    """A broken file costs nothing but itself; the process needn't even be replaced."""
    before = child_of(parser)
    assert reason_for(parser, data, media_type) in {"malformed", "empty"}
    assert_parses(parser)
    assert child_of(parser) == before


def test_errors_do_not_quote_the_document(parser: FileParser) -> None:
    """Details go to logs and dead letters, where text must not leak."""
    with pytest.raises(ParseRejected) as caught:
        parser.parse(b'{"secret plan": }', IPYNB, timeout_s=TIMEOUT_S)
    assert "secret" not in str(caught.value)


def test_a_zip_bomb_is_rejected(parser: FileParser) -> None:
    """A DOCX of a few hundred kilobytes that unpacks to 300 MiB never reaches the library."""
    bomb = docx(SENTENCE, bomb=b"0" * (300 * 1024 * 1024))
    assert len(bomb) < 1024 * 1024
    assert reason_for(parser, bomb, DOCX) == "archive_ratio"
    assert_parses(parser)


def test_files_without_text_are_rejected(parser: FileParser) -> None:
    """A scan has nothing to index, and the error says what to do."""
    assert reason_for(parser, pdf(""), PDF) == "empty"


def test_a_hanging_file_is_stopped_and_the_next_parses(parser: FileParser) -> None:
    """The time limit holds whatever the library does, and a new process takes over."""
    before = child_of(parser)
    assert reason_for(parser, SLOW_PAGE, HTML, timeout_s=0.3) == "timeout"
    assert_parses(parser)
    assert child_of(parser) != before


@pytest.mark.slow
def test_a_memory_bomb_is_stopped_and_the_next_parses(limited: FileParser) -> None:
    """The kernel refuses the memory; the process is replaced."""
    assert reason_for(limited, SLOW_PAGE, HTML) == "out_of_memory"
    assert_parses(limited)


def test_too_much_text_is_rejected(limited: FileParser) -> None:
    """The output is bounded, not only the input."""
    assert reason_for(limited, html("word " * 5000), HTML) == "too_large"


def test_a_crash_is_the_files_fault_and_the_next_parses(parser: FileParser) -> None:
    """A library that dies of a file takes only the child with it."""
    child = child_of(parser)
    crash = threading.Timer(0.3, os.kill, (child, signal.SIGSEGV))
    crash.start()
    assert reason_for(parser, SLOW_PAGE, HTML) == "crashed"
    crash.join()
    assert_parses(parser)


def test_a_child_that_died_idle_is_replaced(parser: FileParser) -> None:
    """The next file doesn't pay for what happened between files."""
    child = child_of(parser)
    os.kill(child, signal.SIGKILL)
    wait_until(lambda: not parser._child or not parser._child.is_alive, within_s=5, what="the child to be gone")
    assert_parses(parser)


@pytest.mark.slow
def test_the_process_is_replaced_after_some_files() -> None:
    """What libraries leak is bounded."""
    parser = FileParser(ParsingSettings(), files_per_process=2)
    try:
        first = child_of(parser)
        assert_parses(parser)
        assert child_of(parser) == first
        assert_parses(parser)
        assert child_of(parser) != first
    finally:
        parser.close()


def test_close_ends_the_child_and_may_be_repeated() -> None:
    """After close nothing is left running; a later file starts a new process."""
    parser = FileParser(ParsingSettings())
    child = child_of(parser)
    parser.close()
    parser.close()
    assert not is_running(child)


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_the_child_dies_with_its_parent(busy: bool) -> None:
    """kill -9 of the parent leaves no orphan, also while a file hangs."""
    script = f"""
import threading
from connectors.parsing import FileParser
from schemas.settings import ParsingSettings
parser = FileParser(ParsingSettings(timeout_s=60))
parser.start()
if {busy}:
    slow = b"<ul>" + b"<li><b>x</b></li>" * 400_000 + b"</ul>"
    threading.Thread(target=parser.parse, args=(slow, "text/html"), kwargs=dict(timeout_s=60)).start()
    while not parser._child.files_parsed:
        pass
print(parser._child.pid, flush=True)
threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    wait_until(lambda: not is_running(child), within_s=10, what="the orphan to end")


def test_the_child_fetches_nothing(parser: FileParser) -> None:
    """Addresses in a page stay text: no connection is made."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/a"
        page = f'<img src="{address}.png"><a href="{address}">{SENTENCE}</a><link rel="stylesheet" href="{address}.css">'
        assert SENTENCE in parser.parse(page.encode(), HTML, timeout_s=TIMEOUT_S).text
        with pytest.raises(TimeoutError):
            server.accept()


def test_the_child_has_no_side_effects(tmp_path: Path) -> None:
    """Once it parses it can open no connection, start no program and write no file."""
    script = f"""
import os, socket, subprocess
from connectors.parsing.worker import _forbid_side_effects
_forbid_side_effects()
def write():
    with open({str(tmp_path / "f")!r}, "wb", buffering=0) as file: file.write(b"x")
attempts = [lambda: socket.create_connection(("127.0.0.1", 9)), lambda: subprocess.run(["true"]), lambda: os.system("true")]
for attempt in [*attempts, write]:
    try: attempt(); print("allowed")
    except OSError as exc: print(type(exc).__name__, exc.errno)
"""
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == ["PermissionError None"] * 3 + ["OSError 27"]


def test_the_child_sees_no_secrets(parser: FileParser, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings with passwords are not in its environment."""
    monkeypatch.setenv("RAG_REDIS__URL", "redis://:secret@host")
    parser.close()
    assert b"secret" not in Path(f"/proc/{child_of(parser)}/environ").read_bytes()


def test_the_fingerprint_names_the_libraries(parser: FileParser) -> None:
    """Another version of a library may give another text."""
    assert "markitdown=" in parser.fingerprint
    assert "none" not in parser.fingerprint


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie that nobody reaps (in a container without init) does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
