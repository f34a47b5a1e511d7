"""All in one process: embedded parts where no server is named, the write path, the read path, and a door for other commands.

Order of starting: broker and its consumers' registration before the journal is replayed, so that nothing can be dropped by the
broker before it was read; the door opens before the replay is through, and makes publishers wait for it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import structlog

from connectors.embedding import create_embedder
from connectors.kafka import Backlog, KafkaLink, OutRecord
from connectors.kafka.embedded import EmbeddedBroker
from connectors.kafka.topics import create_topics, topic_specs
from connectors.milvus import LiteServer
from flows.express.lane import CONSUMER as EXPRESS
from flows.ingest.runtime import CONSUMER as INGEST
from query_api.view.index_view import VIEWS_FOLDER
from query_api.view.log import CONSUMER as VIEW
from ragstream.embedded.door import Door
from ragstream.embedded.intake import Intake
from ragstream.embedded.journal import Journal
from ragstream.embedded.running import Running, announce, hold, withdraw
from ragstream.publishing.sink import Place
from ragstream.reach import lock_dir
from ragstream.services import IngestService, QueryService, Where
from schemas.errors import Retryable
from schemas.settings import Settings

JOURNAL: Final = "journal/events.log"
MILVUS_FILE: Final = "milvus.db"

log = structlog.get_logger(__name__)


class Up:
    """The running whole. `start` returns when all parts are running; `wait` blocks until one ends."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._replayed = threading.Event()
        self._replay_error: BaseException | None = None
        self.running: Running | None = None
        self.intake: Intake | None = None
        self.ingest: IngestService
        self.query: QueryService
        self.where: Where

    def start(self) -> None:
        """Start everything. On failure what was started is stopped again. Raises: RagError."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        """Ask for a clean end. Safe from a signal handler."""
        self._stop.set()

    def wait(self) -> None:
        """Until `stop`. Raises what a part died of."""
        while not self._stop.wait(0.2):
            self.check()

    def check(self) -> None:
        """Raises what a part died of; what ended without being asked is an error too."""
        if self._replay_error is not None:
            raise self._replay_error
        self.ingest.wait(0)
        self.query.wait(0)

    def close(self) -> None:
        """Stop in the order of the data: intake, write path, read path, servers."""
        self._stack.close()

    def _start(self) -> None:
        settings, stack = self._settings, self._stack
        stack.enter_context(hold(settings.data_dir))
        link = self._start_log()
        milvus_uri = settings.milvus.uri or self._start_milvus(is_refilled=link.embedded)
        self.where = Where(link, milvus_uri)
        embedder = create_embedder(settings.embedding, settings.data_dir)
        stack.callback(embedder.close)
        # Half of the journal would show what its other half deletes: nothing is answered before all of it is reflected.
        restored = self._replayed if link.embedded else None
        accept = self._accept if link.embedded else None
        self.query = QueryService(settings, self.where, embedder=embedder, restored=restored, accept=accept)
        stack.callback(self.query.close)
        self.ingest = IngestService(settings, self.where, embedder=embedder)
        stack.callback(self.ingest.close)
        self.ingest.start()
        self.query.start()
        self._open_door(link, milvus_uri)

    def _start_log(self) -> KafkaLink:
        kafka = self._settings.kafka
        if kafka.bootstrap_servers is not None:
            link = KafkaLink(kafka, kafka.bootstrap_servers)
            create_topics(link, topic_specs(self._settings))
            return link
        # The in-process log begins anew with each process, and so must the view of it.
        shutil.rmtree(self._settings.data_dir / VIEWS_FOLDER, ignore_errors=True)
        broker = EmbeddedBroker()
        self._stack.callback(broker.close)
        bootstrap = broker.start({spec.name: spec.partitions for spec in topic_specs(self._settings)})
        backlog = Backlog()
        topics = kafka.topics
        backlog.register(topics.documents, INGEST)
        backlog.register(topics.documents, EXPRESS)
        backlog.register(self._settings.index_topic, VIEW)
        backlog.register(topics.floors, VIEW)
        return KafkaLink(kafka, bootstrap, embedded=True, backlog=backlog, lock_dir=lock_dir(self._settings.data_dir))

    def _start_milvus(self, *, is_refilled: bool) -> str:
        file = self._settings.data_dir / MILVUS_FILE
        if is_refilled:
            # The replay writes every row again. What it doesn't (documents that have ended since) nobody would ever delete.
            file.unlink(missing_ok=True)
        server = LiteServer(file)
        uri = server.start()
        self._stack.callback(server.close)
        return uri

    def _open_door(self, link: KafkaLink, milvus_uri: str) -> None:
        settings, stack = self._settings, self._stack
        token, url = secrets.token_urlsafe(24), ""
        if link.embedded:
            journal = Journal(settings.data_dir / JOURNAL, settings.kafka.partitions)
            journal.open()
            stack.callback(journal.close)
            documents, partitions = settings.kafka.topics.documents, settings.kafka.partitions
            self.intake = Intake(link, documents, partitions, journal, max_ahead_ms=settings.max_ahead_ms)
            stack.callback(self.intake.close)
            door = Door(self.intake, token)
            door.open()
            stack.callback(door.close)
            url = door.url
            replay = threading.Thread(target=self._replay, name="replay", daemon=True)
            replay.start()
        self.running = Running(
            pid=os.getpid(),
            data_dir=settings.data_dir.resolve(),
            bootstrap=link.bootstrap,
            is_embedded_kafka=link.embedded,
            milvus_uri=milvus_uri,
            door=url,
            token=token,
            generation=settings.generation,
            ingest_health=self.ingest.health_url,
            query_health=self.query.health_url,
            http=self.query.http_url,
        )
        announce(self.running)
        stack.callback(withdraw, self.running)

    def _accept(self, records: Sequence[OutRecord]) -> list[Place]:
        """What comes over HTTP, into the journal. Raises: Rejected, Retryable."""
        if self.intake is None:
            msg = "the journal is not open yet; send it again in a moment"
            raise Retryable(msg)
        return self.intake.accept(records)

    def _replay(self) -> None:
        try:
            if self.intake is not None:
                self.intake.replay()
            self._replayed.set()
        except BaseException as exc:
            self._replay_error = exc
