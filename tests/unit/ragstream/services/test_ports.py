"""Where processes of one machine listen: nobody takes another one's port, and who is looked for is where it is looked for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.embedding import HashingEmbedder
from connectors.kafka import KafkaLink
from ragstream.cli.run import ingest
from ragstream.services import QueryService, Where
from ragstream.services.ingest import PORT_MAX, health_port
from schemas.errors import Misconfigured
from schemas.settings import HttpSettings, KafkaSettings, ObservabilitySettings, Settings

NOBODY = "127.0.0.1:1"


def most_workers() -> int:
    """As the command line allows."""
    (option,) = get_type_hints(ingest, include_extras=True)["workers"].__metadata__
    return int(option.max)


def test_by_default_no_worker_of_ingest_takes_a_port_of_serve() -> None:
    """However many there are: both commands run on one machine as they come."""
    settings = Settings()
    workers = most_workers()
    assert workers == 64
    taken = {health_port(settings.observability, process) for process in range(workers)}
    assert len(taken) == workers
    assert taken.isdisjoint({settings.http.port, settings.observability.query_port})


@given(st.integers(1, PORT_MAX), st.integers(0, 63))
def test_a_worker_s_port_is_its_own_or_refused(first: int, process: int) -> None:
    """Beyond the last port the setting and its value are named, with the remedy."""
    settings = ObservabilitySettings(ingest_port=first)
    if first + process <= PORT_MAX:
        assert health_port(settings, process) == first + process
        return
    with pytest.raises(Misconfigured, match=f"RAG_OBSERVABILITY__INGEST_PORT={first}"):
        health_port(settings, process)


@given(st.integers(0, 63))
def test_any_free_port_is_any_free_port(process: int) -> None:
    """For every worker."""
    assert health_port(ObservabilitySettings(ingest_port=0), process) == 0


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def service_at(folder: Path, port: int, *, is_embedded: bool, is_named: bool) -> QueryService:
    """A query service, not started; its port is the settings' default, or named by somebody."""
    http = HttpSettings(port=port) if is_named else HttpSettings.model_construct(set(), port=port)
    settings = Settings(data_dir=folder).model_copy(update={"http": http})
    where = Where(KafkaLink(KafkaSettings(), NOBODY, embedded=is_embedded), f"http://{NOBODY}")
    return QueryService(settings, where, embedder=HashingEmbedder(64))


@pytest.mark.parametrize(("is_embedded", "is_named"), [(False, False), (False, True), (True, True)])
def test_a_taken_port_is_said_with_its_setting(tmp_path: Path, taken: int, is_embedded: bool, is_named: bool) -> None:
    """`serve` never answers elsewhere than where it is looked for, nor does `up` where a port was asked for."""
    with pytest.raises(Misconfigured, match=rf"127\.0\.0\.1:{taken}: .*RAG_HTTP__PORT") as refused:
        service_at(tmp_path, taken, is_embedded=is_embedded, is_named=is_named)
    assert refused.value.exit_code == 78


def test_what_is_embedded_takes_another_port_where_none_was_asked_for(tmp_path: Path, taken: int) -> None:
    """Its own commands find it wherever it is."""
    service = service_at(tmp_path, taken, is_embedded=True, is_named=False)
    try:
        assert service.http_url.startswith("http://127.0.0.1:")
        assert service.http_url != f"http://127.0.0.1:{taken}"
    finally:
        service.close()
