"""What is wrong with a topic's settings, each problem with the command that mends it. Pure; `topic_check` asks the cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from connectors.kafka.topic_specs import (
    CLEANUP,
    DAY_MS,
    DELETE_RETENTION,
    FOREVER,
    MAX_COMPACTION_LAG,
    MAX_MESSAGE_BYTES,
    MIN_COMPACTION_LAG,
    RETENTION_BYTES,
    RETENTION_MS,
    TIMESTAMP_AHEAD,
    TIMESTAMP_TYPE,
    TopicSpec,
)

Configs = Mapping[str, str]
"""A topic's effective settings by name."""

MINUTE_MS: Final = 60_000


class Problem(NamedTuple):
    """What is wrong and what follows from it, and what to do."""

    problem: str
    remedy: str


def setting_problems(spec: TopicSpec, actual: Configs, bootstrap: str) -> list[Problem]:
    """Everything about `actual` that breaks what `spec` promises. What is stricter than asked for is none."""
    return [problem for check in _CHECKS for problem in check(spec, actual, bootstrap)]


def alter(bootstrap: str, topic: str, name: str, value: str) -> str:
    """The command of Kafka's own tools that mends a topic's setting."""
    return f"kafka-configs.sh --bootstrap-server {bootstrap} --alter --topic {topic} --add-config {name}={value}"


def _cleanup(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    wanted, found = spec.config[CLEANUP], actual.get(CLEANUP, "")
    if found == wanted:
        return
    consequence = {
        "delete": "older messages of a key vanish, so replay and rebuild can't see a document's history",
        "compact": "it grows without end, or forgets what is still current",
    }[wanted]
    yield Problem(f"{CLEANUP}={found}: {consequence}", alter(bootstrap, spec.name, CLEANUP, wanted))


def _retention(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    # Compacted topics drop by age only where cleanup.policy says so, which is a problem of its own.
    if spec.config[CLEANUP] != "delete":
        return
    if spec.config[RETENTION_MS] != FOREVER:
        if _is_shorter(actual[RETENTION_MS], spec.config[RETENTION_MS]):
            problem = f"{RETENTION_MS}={actual[RETENTION_MS]}: messages may vanish before they are read"
            yield Problem(problem, alter(bootstrap, spec.name, RETENTION_MS, spec.config[RETENTION_MS]))
        return
    if actual[RETENTION_MS] != FOREVER:
        problem = f"forgets after {int(actual[RETENTION_MS]) / DAY_MS:g} days: a rebuild can't replay what is older"
        yield Problem(problem, alter(bootstrap, spec.name, RETENTION_MS, FOREVER))
    if actual[RETENTION_BYTES] != FOREVER:
        problem = f"forgets beyond {actual[RETENTION_BYTES]} bytes a partition: a rebuild can't replay what is older"
        yield Problem(problem, alter(bootstrap, spec.name, RETENTION_BYTES, FOREVER))


def _message_size(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    wanted, found = int(spec.config[MAX_MESSAGE_BYTES]), int(actual[MAX_MESSAGE_BYTES])
    if found < wanted:
        problem = f"{MAX_MESSAGE_BYTES}={found}: messages that RAG_KAFKA__MAX_MESSAGE_BYTES allows are refused"
        remedy = alter(bootstrap, spec.name, MAX_MESSAGE_BYTES, str(wanted))
        yield Problem(problem, f"{remedy} (or lower RAG_KAFKA__MAX_MESSAGE_BYTES)")


def _cleared(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    """What views rest on: news of what was cleared stay for as long as a view may be away."""
    found = number(actual, DELETE_RETENTION)
    if DELETE_RETENTION not in spec.config or found is None:
        return
    wanted = int(spec.config[DELETE_RETENTION])
    if found < wanted:
        problem = (
            f"{DELETE_RETENTION}={found}: what was cleared is forgotten after {found / DAY_MS:g} days, and a query worker that "
            f"was away for longer, up to {wanted / DAY_MS:g} days, goes on showing it"
        )
        yield Problem(problem, alter(bootstrap, spec.name, DELETE_RETENTION, str(wanted)))


def _soonest_compaction(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    found = number(actual, MIN_COMPACTION_LAG)
    if MIN_COMPACTION_LAG not in spec.config or found is None:
        return
    wanted = int(spec.config[MIN_COMPACTION_LAG])
    if found < wanted:
        problem = (
            f"{MIN_COMPACTION_LAG}={found}: compacts what a query worker that lags by less than {wanted // MINUTE_MS} minutes "
            "has yet to read, and it may take a change for reflected before it has read it"
        )
        yield Problem(problem, alter(bootstrap, spec.name, MIN_COMPACTION_LAG, str(wanted)))


def _latest_compaction(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    found = number(actual, MAX_COMPACTION_LAG)
    if MAX_COMPACTION_LAG not in spec.config or found is None:
        return
    wanted = int(spec.config[MAX_COMPACTION_LAG])
    if found > wanted:
        problem = (
            f"{MAX_COMPACTION_LAG}={found}: what was superseded or deleted, text included, may stay in the log for ever where "
            "little is written, and is read at every start"
        )
        yield Problem(problem, alter(bootstrap, spec.name, MAX_COMPACTION_LAG, str(wanted)))


def _timestamps(spec: TopicSpec, actual: Configs, bootstrap: str) -> Iterator[Problem]:
    if TIMESTAMP_TYPE not in spec.config:
        return
    wanted, found = spec.config[TIMESTAMP_TYPE], actual.get(TIMESTAMP_TYPE, spec.config[TIMESTAMP_TYPE])
    if found != wanted:
        problem = f"{TIMESTAMP_TYPE}={found}: a change without a time of its own that is sent or copied again counts as a new one"
        yield Problem(problem, alter(bootstrap, spec.name, TIMESTAMP_TYPE, wanted))
        return
    ahead, most = number(actual, TIMESTAMP_AHEAD), int(spec.config[TIMESTAMP_AHEAD])
    if ahead is not None and ahead > most:
        problem = (
            f"{TIMESTAMP_AHEAD}={ahead}: changes of a producer whose clock is up to {ahead / MINUTE_MS:g} minutes fast count, "
            "and win over all others until then"
        )
        remedy = alter(bootstrap, spec.name, TIMESTAMP_AHEAD, str(most))
        yield Problem(problem, f"{remedy} (or raise RAG_INDEXES__<name>__MAX_FUTURE_SKEW_S)")


def number(actual: Configs, name: str) -> int | None:
    """A setting's value; None where the cluster doesn't tell: not everything that speaks Kafka has all of them."""
    value = actual.get(name, "")
    return int(value) if value.lstrip("-").isdecimal() else None


def _is_shorter(found: str, wanted: str) -> bool:
    return found != FOREVER and int(found) < int(wanted)


_CHECKS: Final[tuple[Callable[[TopicSpec, Configs, str], Iterator[Problem]], ...]] = (
    _cleanup,
    _retention,
    _message_size,
    _cleared,
    _soonest_compaction,
    _latest_compaction,
    _timestamps,
)
