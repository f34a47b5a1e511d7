"""Start the real servers by hand and keep them until Ctrl-C: `python -m tests.servers [kafka] [redis] [milvus]`.

Prints what to export so that ragstream, and the test suite, use them.
"""

import argparse
import signal
import sys
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path

from tests.servers.cache import UnavailableError
from tests.servers.kafka import KafkaServer
from tests.servers.milvus import MilvusServer
from tests.servers.plugin import KAFKA_VARIABLE, MILVUS_VARIABLE, REDIS_VARIABLE, SERVER_MARKS
from tests.servers.process import ServerFailedError
from tests.servers.redis import RedisServer


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status: 0 after Ctrl-C or SIGTERM, 1 when a server could not be started."""
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("servers", nargs="*", help=f"of {', '.join(SERVER_MARKS)}; all when none is named")
    chosen = parser.parse_args(arguments).servers or list(SERVER_MARKS)
    if unknown := set(chosen) - set(SERVER_MARKS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="ragstream-servers-") as home, ExitStack() as running:
            for name in chosen:
                for variable, value in _start(name, Path(home), running).items():
                    sys.stdout.write(f"export {variable}={value}\n")
                sys.stdout.flush()
            sys.stderr.write("running; Ctrl-C stops them and deletes their data\n")
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (UnavailableError, ServerFailedError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _start(name: str, home: Path, running: ExitStack) -> dict[str, str]:
    if name == "kafka":
        kafka = running.enter_context(KafkaServer(home / name))
        return {"RAG_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap_servers, KAFKA_VARIABLE: kafka.bootstrap_servers}
    if name == "redis":
        redis = running.enter_context(RedisServer(home / name))
        return {"RAG_REDIS__URL": redis.url, REDIS_VARIABLE: redis.url}
    milvus = running.enter_context(MilvusServer(home / name))
    return {"RAG_MILVUS__URI": milvus.uri, MILVUS_VARIABLE: milvus.uri}


if __name__ == "__main__":
    sys.exit(main())
