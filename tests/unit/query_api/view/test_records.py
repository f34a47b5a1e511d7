"""Cards: any order of partitions, any duplication and any compaction of a valid log show the fold's documents."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query_api.view.records import DocumentCard, manifest_head, seen_head
from schemas.errors import Misconfigured
from schemas.index import DOC, SEEN, DocKey, LogKey, SourcePosition
from schemas.join import DocumentState, effect_of, fold
from tests.unit.query_api.view.writing import KeyValue, Writer, digest_of, key_of, manifest, seen

KEY = key_of("a")
AT = SourcePosition(0, 0)
HR = ("group:hr",)
EVERYONE = ("*",)


@dataclass(frozen=True)
class Event:
    """What a producer publishes to one partition."""

    partition: int
    kind: str
    doc_id: str
    version: int
    text: str
    allow: tuple[str, ...] | None

    @property
    def effect(self) -> DocumentState:
        """The smallest state that it asserts."""
        return effect_of(
            version=self.version,
            deletes=self.kind == "delete",
            digest=digest_of(self.text) if self.kind == "upsert" else None,
            allow=self.allow if self.kind != "delete" else None,
            failed=self.kind == "fail",
        )


def events(partitions: int) -> st.SearchStrategy[list[Event]]:
    """Histories of a few documents, versions in any order, contents that come back. One version, one event."""
    one = st.builds(
        Event,
        partition=st.integers(0, partitions - 1),
        kind=st.sampled_from(["upsert", "upsert", "access", "delete", "fail"]),
        doc_id=st.sampled_from(["a", "b"]),
        version=st.integers(0, 30),
        text=st.sampled_from(["one", "two\nthree", "four"]),
        allow=st.sampled_from([EVERYONE, HR, ("user:ann",), ()]),
    )
    return st.lists(one, max_size=14, unique_by=lambda event: (event.doc_id, event.version))


def written(history: Iterable[Event], partitions: int) -> list[list[KeyValue]]:
    """The index log, by partition, that lanes make of a history."""
    writers = [Writer(partition) for partition in range(partitions)]
    logs: list[list[KeyValue]] = [[] for _ in range(partitions)]
    for event in history:
        writer, key = writers[event.partition], key_of(event.doc_id)
        match event.kind:
            case "upsert":
                records = writer.upsert(key, event.version, event.text, event.allow)
            case "access":
                records = writer.access(key, event.version, event.allow or ())
            case "delete":
                records = writer.delete(key, event.version)
            case _:
                records = writer.fail(key, event.version, event.allow)
        logs[event.partition] += records
    return logs


Delivered = tuple[int, int, KeyValue]


def compacted(log: list[KeyValue], clean: int, mapped: int) -> list[tuple[int, KeyValue]]:
    """What the cleaner leaves: records below `clean` go if their key recurs below `mapped`."""
    last = {key: offset for offset, (key, _) in enumerate(log[:mapped])}
    return [(offset, kv) for offset, kv in enumerate(log) if offset >= clean or last.get(kv[0], offset) <= offset]


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[Event], list[Delivered]]:
    """A history, and one way in which a view may come to read its log."""
    partitions = draw(st.integers(1, 3))
    history = draw(events(partitions))
    lanes: list[list[tuple[int, KeyValue]]] = []
    for log in written(history, partitions):
        clean = draw(st.integers(0, len(log)))
        rest = compacted(log, clean, draw(st.integers(clean, len(log))))
        again = draw(st.integers(0, len(rest)))
        lanes.append(rest[:again] + rest)  # read twice up to somewhere
    order = draw(st.permutations([number for number, lane in enumerate(lanes) for _ in lane]))
    heads = [iter(lane) for lane in lanes]
    return history, [(number, *next(heads[number])) for number in order]


def carded(delivered: Iterable[Delivered]) -> dict[DocKey, DocumentCard]:
    """The cards after reading."""
    cards: dict[DocKey, DocumentCard] = {}
    for partition, offset, (raw_key, value) in delivered:
        key = LogKey.from_bytes(raw_key)
        if key.kind not in (DOC, SEEN):
            continue
        document = DocKey.parse(key.name)
        card = cards.get(document, DocumentCard(document))
        if key.kind == DOC:
            card = card.with_manifest(partition, manifest_head(offset, value))
        else:
            card = card.with_seen(partition, seen_head(offset, value))
        cards[document] = DocumentCard.from_bytes(card.to_bytes())
    return cards


@settings(max_examples=300, deadline=None)
@given(deliveries())
def test_any_reading_of_a_log_shows_the_fold(case: tuple[list[Event], list[Delivered]]) -> None:
    """Registers are the fold of the events; shown is a manifest of the fold's content, always the same one."""
    history, delivered = case
    cards = carded(delivered)
    in_order = carded((p, o, kv) for p, log in enumerate(written(history, 3)) for o, kv in enumerate(log))
    assert cards.keys() == in_order.keys()
    for key, card in cards.items():
        truth = fold(event.effect for event in history if event.doc_id == key.doc_id)
        assert card.state == truth
        shown = card.shown(card.state)
        assert (shown is None) == (truth.content is None)
        assert shown == in_order[key].shown(truth)


def test_a_manifest_that_comes_late_does_not_undo_what_came_before() -> None:
    """v5 goes to embed, access v6 overtakes it, v5 is published: in any order and compacted, v6's access holds."""
    content = effect_of(version=5, digest=digest_of("text"), allow=EVERYONE)
    revoked = effect_of(version=6, allow=HR)
    log = [seen(KEY, revoked, AT), manifest(KEY, content, "text", AT)]
    for delivered in ([(0, 0, log[0]), (0, 1, log[1])], [(0, 0, log[1]), (0, 1, log[0])]):
        state = carded(delivered)[KEY].state
        assert state.allow_lists() == (HR,)


def test_text_of_an_earlier_content_is_not_shown_for_one_still_to_come() -> None:
    """Registers that speak of a content without its manifest show nothing; with the same digest the text is it."""
    old = effect_of(version=1, digest=digest_of("old"), allow=EVERYONE)
    card = DocumentCard(KEY).with_manifest(0, manifest_head(0, manifest(KEY, old, "old", AT)[1]))
    newer = effect_of(version=2, digest=digest_of("new"), allow=EVERYONE)
    waiting = card.with_seen(0, seen_head(1, seen(KEY, newer, AT)[1]))
    assert waiting.shown(waiting.state) is None
    same = effect_of(version=2, digest=digest_of("old"), allow=EVERYONE)
    repeated = card.with_seen(0, seen_head(1, seen(KEY, same, AT)[1]))
    shown = repeated.shown(repeated.state)
    assert shown is not None and shown.offset == 0
    assert repeated.state.content_version == 2


def test_of_two_partitions_the_newer_content_is_shown() -> None:
    """One doc_id in two partitions: the join decides, whichever is read first; a delete in one hides the other's."""
    old = manifest(KEY, effect_of(version=5, digest=digest_of("old"), allow=EVERYONE), "old", SourcePosition(0, 0))
    new = manifest(KEY, effect_of(version=7, digest=digest_of("new"), allow=EVERYONE), "new", SourcePosition(1, 0))
    for delivered in ([(0, 0, old), (1, 0, new)], [(1, 0, new), (0, 0, old)]):
        card = carded(delivered)[KEY]
        shown = card.shown(card.state)
        assert shown is not None and shown.partition == 1
    gone = card.with_seen(0, seen_head(1, seen(KEY, effect_of(version=8, deletes=True), SourcePosition(0, 1))[1]))
    assert gone.shown(gone.state) is None


def test_a_tombstone_shows_nothing() -> None:
    """A manifest that isn't shown hides its text, also while its registers keep the content (expired)."""
    state = effect_of(version=5, digest=digest_of("text"), allow=EVERYONE)
    card = DocumentCard(KEY).with_manifest(0, manifest_head(0, manifest(KEY, state, "text", AT)[1]))
    expired = card.with_manifest(0, manifest_head(1, manifest(KEY, state, "", AT, shown=False)[1]))
    assert card.shown(card.state) is not None
    assert expired.shown(expired.state) is None


def test_a_null_takes_a_record_back() -> None:
    """A null value leaves what compaction leaves: nothing of that key."""
    state = effect_of(version=5, digest=digest_of("text"), allow=EVERYONE)
    card = DocumentCard(KEY).with_manifest(0, manifest_head(0, manifest(KEY, state, "text", AT)[1]))
    assert card.with_manifest(0, manifest_head(1, None)).is_empty


def test_newer_schemas_stop_the_view() -> None:
    """A record of a newer release may mean to hide something: no guessing."""
    with pytest.raises(Misconfigured, match="schema_version 2"):
        manifest_head(0, b'{"schema_version":2}')
    with pytest.raises(Misconfigured, match="schema_version 2"):
        seen_head(0, b'{"schema_version":2}')
