"""Hypothesis strategies for the messages of schemas/."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import reduce
from typing import Any

from hypothesis import strategies as st

from schemas.acl import allow_list
from schemas.dead_letters import MAX_DETAIL_LENGTH, DeadLetter
from schemas.documents import MAX_TTL_SECONDS, ContentReference, DocumentChange, InlineBytes, InlineText
from schemas.feedback import Feedback
from schemas.floors import AccessFloor, DeleteFloor, Floor, FloorKey, LaneName, join_floors
from schemas.index import ChunkSpan, DocKey, IndexEntry, OutcomeRun, Owner, Progress, Registers, SeenRecord, SourcePosition
from schemas.join import DocumentState, effect_of, fold
from schemas.queries import AnswerEvent, AsOf, Citation, PartitionLag, QueryRequest
from schemas.wire import MAX_VERSION

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
doc_ids = lines.filter(bool)
indexes = st.from_regex(r"[a-z][a-z0-9]{0,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
versions = st.integers(0, MAX_VERSION)
numbers = st.integers(0, 2**53 - 1)
moments = st.datetimes(datetime(1970, 1, 2), datetime(9000, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  hypothesis adds UTC
names = st.from_regex(r"[a-z0-9@.é-]{1,12}", fullmatch=True)
principals = st.just("*") | st.builds("{}:{}".format, st.sampled_from(["user", "group"]), names)
acls = st.lists(principals, max_size=5).map(allow_list)
media_types = st.sampled_from(["text/markdown", "text/plain", "text/html", "text/csv"])
digests = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)

inline_texts = st.builds(InlineText, text=texts, media_type=media_types)
contents = (
    inline_texts
    | st.builds(InlineBytes, base64=st.binary(max_size=40), media_type=media_types)
    | st.builds(ContentReference, uri=lines.map("file:///{}".format), sha256=digests, media_type=media_types)
)
metadata_values = (
    st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | lines
    | st.lists(lines, max_size=3).map(tuple)
)
metadata = st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,5}", fullmatch=True), metadata_values, max_size=4)
expiries: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"expires_at": st.none() | moments}),
    st.fixed_dictionaries({"ttl_seconds": st.integers(1, MAX_TTL_SECONDS)}),
)


@st.composite
def changes(draw: st.DrawFn, ops: tuple[str, ...] = ("upsert", "delete", "access")) -> DocumentChange:
    """Valid changes, of all three kinds unless told otherwise, with any of the fields that go with them."""
    op = draw(st.sampled_from(ops))
    fields = draw(
        st.fixed_dictionaries(
            {"doc_id": doc_ids},
            optional={"index": indexes, "version": versions, "event_time": moments, "schema_version": st.just(1)},
        )
    )
    if op == "upsert":
        fields |= draw(
            st.fixed_dictionaries(
                {"content": contents},
                optional={"title": lines, "source_uri": lines, "metadata": metadata, "acl": acls},
            )
        )
        fields |= draw(expiries)
    elif op == "access":
        fields |= {"acl": draw(acls)} | draw(expiries)
    return DocumentChange(op=op, **fields)


positions = st.builds(SourcePosition, st.integers(0, 10**6), numbers)
effects = st.builds(
    effect_of,
    version=st.integers(0, 20),
    deletes=st.booleans(),
    digest=st.none() | digests,
    allow=st.none() | acls,
    carries_expiry=st.booleans(),
    expires_at_ms=st.none() | numbers,
    failed=st.booleans(),
)
states: st.SearchStrategy[DocumentState] = st.lists(effects, max_size=5).map(fold)
registers = st.builds(
    Registers,
    deleted=st.none() | versions,
    content=st.none() | st.tuples(versions, digests),
    access=st.lists(st.tuples(versions, acls), max_size=3).map(tuple),
    expiry=st.lists(st.tuples(versions, st.none() | numbers, st.booleans()), max_size=3).map(tuple),
    failed=st.none() | versions,
)
entries = st.builds(
    IndexEntry,
    index=indexes,
    doc_id=doc_ids,
    registers=registers,
    shown=st.booleans(),
    title=lines,
    source_uri=st.none() | lines,
    metadata=metadata,
    text=texts,
    chunks=st.lists(st.builds(ChunkSpan, numbers, numbers, digests, digests), max_size=3).map(tuple),
    superseded=st.lists(digests, max_size=2).map(tuple),
    source=positions,
    content_source=st.none() | positions,
    event_time_ms=numbers,
    written_at_ms=numbers,
)
progresses = st.builds(
    Progress,
    partition=numbers,
    origin=numbers,
    start=numbers,
    next=numbers,
    runs=st.lists(st.builds(OutcomeRun, numbers, numbers, numbers, names), max_size=3).map(tuple),
    totals=st.dictionaries(names, numbers, max_size=3),
    model=names,
    chunker=names,
    log_id=lines,
    written_at_ms=numbers,
)
owners = st.builds(Owner, partition=numbers, owner=names, host=lines, pid=numbers, started_at_ms=numbers)
answers = st.builds(
    AnswerEvent,
    query_id=lines,
    text=texts,
    citations=st.lists(
        st.builds(
            Citation,
            number=numbers,
            index=indexes,
            doc_id=doc_ids,
            title=lines,
            source_uri=st.none() | lines,
            version=versions,
            chunk=numbers,
            start=numbers,
            end=numbers,
            score=st.floats(0, 1),
            text=texts,
        ),
        max_size=2,
    ).map(tuple),
    degraded=st.lists(names, max_size=2).map(tuple),
    as_of=st.none()
    | st.builds(
        AsOf,
        reflected_until=st.none() | moments,
        lag_ms=st.none() | numbers,
        partitions=st.lists(st.builds(PartitionLag, partition=numbers, position=numbers, end=st.none() | numbers)).map(tuple),
    ),
    answered_at=st.none() | moments,
)
upserts = changes(("upsert",))
queries = st.builds(
    QueryRequest,
    query_id=doc_ids,
    question=texts.filter(str.strip),
    principals=st.lists(principals | st.just("role:operator"), max_size=3).map(tuple),
    indexes=st.lists(indexes, max_size=2).map(tuple),
    deadline=st.none() | moments,
    after=st.lists(lines, max_size=2).map(tuple),
    reply_to=st.none() | lines,
    explain=st.booleans(),
)
feedbacks = st.builds(
    Feedback,
    query_id=doc_ids,
    rating=st.sampled_from(["up", "down"]),
    comment=st.none() | texts,
    principal=st.none() | principals,
    given_at=st.none() | moments,
)
floors = st.builds(
    lambda delete, access: reduce(join_floors, (Floor(access=(entry,)) for entry in access), Floor(delete)),
    st.none() | st.builds(DeleteFloor, versions, positions),
    st.lists(st.builds(AccessFloor, versions, acls, positions), max_size=12),
)
generations = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
floor_keys = st.builds(
    FloorKey,
    st.builds(DocKey, indexes, doc_ids),
    st.none() | st.builds(LaneName, generations, st.integers(0, 10**6)),
)
seen_records = st.builds(SeenRecord, states, positions, st.none() | positions)
dead_letters = st.builds(
    DeadLetter,
    reason=names,
    detail=texts.map(lambda text: text[:MAX_DETAIL_LENGTH]),
    topic=names,
    source=positions,
    raw=st.none() | st.binary(max_size=40),
    key=st.none() | st.binary(max_size=20),
    timestamp_ms=st.integers(-1, 2**53),
    failed_at_ms=numbers,
    attempts=st.integers(1, 100),
    headers=st.lists(st.tuples(lines | st.sampled_from(["rag-reason", "original-x"]), st.binary(max_size=9)), max_size=3).map(
        tuple
    ),
)
