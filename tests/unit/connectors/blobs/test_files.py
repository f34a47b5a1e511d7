"""file:// URIs: what is read, what is refused, and what may be tried again."""

import errno
import hashlib
import os
import socket
from pathlib import Path

import pytest

from connectors.blobs import BlobRejected, BlobTroubled, open_blob_store
from schemas.errors import Retryable
from schemas.settings import BlobSettings

CONTENT = b"A transfer costs one euro."
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "allowed"
    folder.mkdir()
    (folder / "a file.md").write_bytes(CONTENT)
    (tmp_path / "secret.md").write_bytes(CONTENT)
    return folder


def fetch(root: Path, uri: str, *, sha256: str | None = DIGEST, max_bytes: int = 1000, timeout_s: float = 5) -> bytes:
    store = open_blob_store(BlobSettings(file_roots=(root,)))
    return store.fetch(uri, sha256=sha256, max_bytes=max_bytes, timeout_s=timeout_s)


def reason_for(root: Path, uri: str, *, sha256: str | None = DIGEST, max_bytes: int = 1000) -> str:
    with pytest.raises(BlobRejected) as caught:
        fetch(root, uri, sha256=sha256, max_bytes=max_bytes)
    return caught.value.reason


def test_a_file_under_a_root_is_read(root: Path) -> None:
    """Percent-encoding, a localhost authority, and no authority at all are understood."""
    path = f"{root}/a%20file.md"
    assert fetch(root, f"file://{path}") == fetch(root, f"file://localhost{path}") == fetch(root, f"file:{path}") == CONTENT


def test_a_hash_is_checked_where_given(root: Path) -> None:
    """What was replaced since is not what was meant."""
    uri = (root / "a file.md").as_uri()
    assert fetch(root, uri, sha256=None) == fetch(root, uri, sha256=DIGEST.upper()) == CONTENT
    assert reason_for(root, uri, sha256="0" * 64) == "hash_mismatch"


@pytest.mark.parametrize(
    "path",
    ["../secret.md", "%2e%2e/secret.md", "../absent.md", "sub/../../secret.md"],
    ids=["dots", "encoded", "absent", "down-and-up"],
)
def test_paths_that_lead_out_are_refused(root: Path, path: str) -> None:
    """Whether something is there or not, the answer is the same."""
    assert reason_for(root, f"file://{root}/{path}") == "outside_roots"


def test_a_root_is_no_prefix_of_names(root: Path) -> None:
    """`allowed-too` is not inside `allowed`."""
    beside = root.with_name("allowed-too")
    beside.mkdir()
    (beside / "b").write_bytes(CONTENT)
    assert reason_for(root, (beside / "b").as_uri()) == "outside_roots"


def test_links_are_followed_inside_the_roots_only(root: Path) -> None:
    """A link may point within the root; one that leads out is refused, also as a folder on the way."""
    (root / "inner").symlink_to(root / "a file.md")
    (root / "out").symlink_to(root.parent / "secret.md")
    (root / "up").symlink_to(root.parent)
    assert fetch(root, f"file://{root}/inner") == CONTENT
    assert reason_for(root, f"file://{root}/out") == "outside_roots"
    assert reason_for(root, f"file://{root}/up/secret.md") == "outside_roots"


def test_a_root_may_itself_be_a_link(root: Path) -> None:
    """Operators link their folders."""
    link = root.with_name("link")
    link.symlink_to(root)
    assert fetch(link, f"file://{link}/a%20file.md") == fetch(link, f"file://{root}/a%20file.md") == CONTENT


def test_a_link_swapped_in_after_the_check_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between resolving and opening, nothing can be made to lead out."""
    (root / "sub").symlink_to(root.parent)
    monkeypatch.setattr(os.path, "realpath", os.path.abspath)  # as if `sub` had been a folder just before
    assert reason_for(root, f"file://{root}/sub/secret.md") in {"outside_roots", "not_found"}


def test_without_roots_nothing_is_read(root: Path) -> None:
    """The error names the setting."""
    with pytest.raises(BlobRejected, match="RAG_BLOBS__FILE_ROOTS"):
        open_blob_store(BlobSettings()).fetch((root / "a file.md").as_uri(), sha256=None, max_bytes=9, timeout_s=1)


@pytest.mark.timeout(10)
def test_only_regular_files_are_read(root: Path) -> None:
    """Folders, named pipes and sockets are refused, without hanging on them."""
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
        for name in ("pipe", "socket", ""):
            assert reason_for(root, f"file://{root}/{name}") == "not_regular"


def test_a_missing_file_is_refused(root: Path) -> None:
    """Neither a missing file nor a file taken for a folder can come right later."""
    assert reason_for(root, f"file://{root}/absent") == "not_found"
    assert reason_for(root, f"file://{root}/a%20file.md/b") == "not_found"


def test_a_missing_root_may_come_back(root: Path) -> None:
    """A share that isn't mounted must not turn every document into a dead letter."""
    absent = root / "share"
    with pytest.raises(Retryable, match="share is not there"):
        fetch(absent, f"file://{absent}/a.md")


def test_the_size_is_bounded(root: Path) -> None:
    """Exactly the limit is read, one byte more is not."""
    uri = (root / "a file.md").as_uri()
    assert fetch(root, uri, max_bytes=len(CONTENT)) == CONTENT
    assert reason_for(root, uri, max_bytes=len(CONTENT) - 1) == "too_large"


def test_a_read_error_may_pass(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing disk is no reason to give up the document."""

    def fail(descriptor: int, length: int) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "read", fail)
    with pytest.raises(Retryable, match="Input/output error"):
        fetch(root, (root / "a file.md").as_uri())


def test_a_damaged_file_is_told_from_a_share_that_is_away(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both may say EIO; a share that is away can't be listed either."""
    uri = next(path for path in root.iterdir() if path.is_file()).as_uri()

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("connectors.blobs.files.os.read", fails)
    with pytest.raises(BlobTroubled):
        fetch(root, uri, sha256=None)
    monkeypatch.setattr("connectors.blobs.files.os.scandir", fails)
    with pytest.raises(Retryable, match="can't be read") as raised:
        fetch(root, uri, sha256=None)
    assert not isinstance(raised.value, BlobTroubled)


def test_an_unreadable_file_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing permissions are named. (Opened as root nothing is unreadable, hence the injected error.)"""

    def fail(*arguments: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "open", fail)
    assert reason_for(root, (root / "a file.md").as_uri()) == "not_readable"


@pytest.mark.parametrize(
    "uri", ["file://host/a", "file:a", "file:///a?b", "file:///a#b", "file:///a%00b", "file:///%ff", "file://[/a"],
    ids=["host", "relative", "query", "fragment", "nul", "not-utf8", "bracket"],
)  # fmt: skip
def test_malformed_uris_are_refused(root: Path, uri: str) -> None:
    """The error says which form is accepted."""
    assert reason_for(root, uri) == "malformed_uri"


def test_other_schemes_are_refused_by_name(root: Path) -> None:
    """The error lists the schemes that are served."""
    with pytest.raises(BlobRejected, match=r"'s3'; supported: file"):
        fetch(root, "s3://bucket/key")


def test_no_descriptor_stays_open(root: Path) -> None:
    """Neither success nor failure leaks one."""
    before = len(os.listdir("/proc/self/fd"))
    fetch(root, (root / "a file.md").as_uri())
    reason_for(root, f"file://{root}/absent/deep")
    reason_for(root, (root / "a file.md").as_uri(), max_bytes=1)
    assert len(os.listdir("/proc/self/fd")) == before
