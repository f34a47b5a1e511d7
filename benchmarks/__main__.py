"""How fast, how fresh, how large: `python -m benchmarks [PART …] [--quick]`. Some 45 minutes for all on two cores.

Parts of the write path: ingest, llamaindex, replay, latency, history; of the read path: read, stream, hybrid, canary. Kafka,
Milvus and Redis are started for the run (RAG_TEST_KAFKA, RAG_TEST_MILVUS and RAG_TEST_REDIS name others). Results go to
benchmarks/results/PART.json, and from all that lie there docs/benchmarks.md is written.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.canary import measure as measure_canary
from benchmarks.child import in_own_process
from benchmarks.history import measure as measure_history
from benchmarks.hybrid import measure as measure_hybrid
from benchmarks.machine import load, machine
from benchmarks.read import measure as measure_read
from benchmarks.read_stack import QUICK_DOCUMENTS, ReadStack, Texts, read_stack
from benchmarks.report import PAGE, RESULTS, summary, write_page
from benchmarks.stack import Servers, make_settings, running_servers
from benchmarks.stream import measure as measure_stream
from tests.servers.cache import UnavailableError

HISTORY = Path("../shared/data/milvus-docs-history.jsonl.xz")
SCIFACT = Path("../shared/data/scifact")


class Run(NamedTuple):
    """What a part is given."""

    servers: Servers
    folder: Path
    history: Path | None
    scifact: Path | None
    quick: bool
    closing: ExitStack


def ingest(run: Run) -> dict[str, Any]:
    """Fresh ingest against the bare encoder."""
    documents, rounds = (75, 1) if run.quick else (120, 3)
    return in_own_process("benchmarks.ingest:run", _common(run) | {"documents": documents, "rounds": rounds})


def llamaindex(run: Run) -> dict[str, Any]:
    """Fresh ingest against LlamaIndex."""
    documents, rounds = (60, 1) if run.quick else (75, 2)
    return in_own_process("benchmarks.llamaindex:run", _common(run) | {"documents": documents, "rounds": rounds})


def replay(run: Run) -> dict[str, Any]:
    """Unchanged events with newer versions."""
    count, rounds = (40_000, 1) if run.quick else (200_000, 3)
    given = {"servers": run.servers._asdict(), "data_dir": str(run.folder), "count": count, "rounds": rounds}
    return in_own_process("benchmarks.replay:run", given)


def latency(run: Run) -> dict[str, Any]:
    """Acknowledgement to vector arm."""
    samples = 60 if run.quick else 500
    settings = make_settings(run.folder / "latency").model_dump(mode="json")
    real = {"servers": run.servers._asdict(), "settings": settings, "samples": samples}
    return {
        "real": in_own_process("benchmarks.latency:real", real),
        "embedded": in_own_process("benchmarks.latency:embedded", {"settings": settings, "samples": samples}),
    }


def history(run: Run) -> dict[str, Any]:
    """The whole history: what edits cost, and memory."""
    return measure_history(run.servers, make_settings(run.folder / "history"), _required_history(run), quick=run.quick)


def read(run: Run) -> dict[str, Any]:
    """Answers over HTTP: their own cost, remembered ones, many callers, while edits arrive."""
    return measure_read(_read_stack(run), quick=run.quick)


def stream(run: Run) -> dict[str, Any]:
    """A model's first token to the caller's."""
    return measure_stream(_read_stack(run), quick=run.quick)


def hybrid(run: Run) -> dict[str, Any]:
    """Questions against LlamaIndex's hybrid query engine."""
    return measure_hybrid(_read_stack(run), quick=run.quick)


def canary(run: Run) -> dict[str, Any]:
    """Stated lag against true lag."""
    return measure_canary(run.servers, run.folder, _required_history(run), quick=run.quick)


PARTS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "ingest": ingest,
    "llamaindex": llamaindex,
    "replay": replay,
    "latency": latency,
    "history": history,
    "read": read,
    "stream": stream,
    "hybrid": hybrid,
    "canary": canary,
}


def _required_history(run: Run) -> Path:
    if run.history is None:
        msg = f"the history is needed for this part: --history PATH (looked for {HISTORY})"
        raise SystemExit(msg)
    return run.history


def _read_stack(run: Run) -> ReadStack:
    texts = Texts(run.history, run.scifact, QUICK_DOCUMENTS if run.quick else None)
    return read_stack(run.servers, run.folder, texts, run.closing)


def _common(run: Run) -> dict[str, Any]:
    history = str(run.history) if run.history else None
    return {"servers": run.servers._asdict(), "data_dir": str(run.folder), "history": history}


def main() -> int:
    """0; 1 when a part failed, after the others have run."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="few samples: to see that it runs; writes no page")
    parser.add_argument("--history", type=Path, help=f"an edit history, JSONL.xz; default: {HISTORY} where it is")
    parser.add_argument("--scifact", type=Path, help=f"SciFact's folder, for the read path; default: {SCIFACT} where it is")
    parser.add_argument("--page", action="store_true", help=f"only write {PAGE} from the results that there are")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    if given.history is not None and not given.history.is_file():
        parser.error(f"no such file: {given.history}")
    if given.scifact is not None and not given.scifact.is_dir():
        parser.error(f"no such folder: {given.scifact}")
    if given.page:
        write_page()
        return 0
    found = given.history or (HISTORY if HISTORY.is_file() else None)
    try:
        with (
            tempfile.TemporaryDirectory(prefix="ragstream-bench-") as folder,
            running_servers(Path(folder)) as servers,
            ExitStack() as closing,
        ):
            abstracts = given.scifact or (SCIFACT if SCIFACT.is_dir() else None)
            run = Run(servers, Path(folder) / "data", found, abstracts, given.quick, closing)
            run.folder.mkdir()
            failed = [name for name in given.parts or PARTS if not _measured(name, run)]
    except UnavailableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if not given.quick:
        write_page()
    return 1 if failed else 0


def _measured(name: str, run: Run) -> bool:
    print(f"--- {name}", flush=True)
    began, before = time.time(), load()
    try:
        result = PARTS[name](run)
    except subprocess.CalledProcessError as error:
        print(f"{name} failed: {error}", file=sys.stderr)
        return False
    about = {"part": name, "quick": run.quick, "history": run.history is not None, "machine": machine()}
    about |= {
        "at": time.strftime("%Y-%m-%d %H:%M"),
        "took_s": round(time.time() - began),
        "load": [round(before, 2), round(load(), 2)],
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{name}{'.quick' if run.quick else ''}.json"
    file.write_text(json.dumps(about | {"result": result}, indent=1))
    print("\n".join(summary(name, result)), flush=True)
    print(f"    {about['took_s']} s; written to {file}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
