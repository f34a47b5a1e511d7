"""The join is a semilattice, and its readings protect: whatever is uncertain narrows."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.acl import OPERATOR, principals_of
from schemas.index import state_from_wire, state_to_wire
from schemas.join import EMPTY, GRID_END_MS, GRID_MS, MAX_ENDS, MAX_ENTRIES, DocumentState, effect_of, fold, join

versions = st.integers(0, 12)
allow_lists = st.sampled_from([(), ("*",), ("group:hr",), ("group:legal", "user:ann")])
moments = st.one_of(st.none(), st.integers(0, 20))


@st.composite
def effects(draw: st.DrawFn) -> DocumentState:
    """What one event of any kind asserts."""
    version = draw(versions)
    kind = draw(st.sampled_from(["upsert", "delete", "access", "failed"]))
    carries_expiry = draw(st.booleans())
    return effect_of(
        version=version,
        deletes=kind == "delete",
        digest=draw(st.sampled_from("ABC")) if kind in ("upsert", "failed") else None,
        allow=draw(st.one_of(st.none(), allow_lists)),
        carries_expiry=carries_expiry,
        expires_at_ms=draw(moments) if carries_expiry else None,
        failed=kind == "failed",
    )


histories = st.lists(effects(), max_size=14)
states = histories.map(fold)
with_any_bounds = pytest.mark.parametrize("small", [False, True], ids=["as they are", "small"])


@contextmanager
def bounds(*, small: bool) -> Iterator[None]:
    """So small that a short history exceeds all of them."""
    with pytest.MonkeyPatch.context() as patch:
        if small:
            for name, value in {"MAX_ENTRIES": 2, "MAX_ENDS": 2, "GRID_MS": 4, "GRID_END_MS": 16}.items():
                patch.setattr(f"schemas.join.{name}", value)
        yield


@with_any_bounds
@given(a=histories, b=histories)
def test_join_is_commutative(a: list[DocumentState], b: list[DocumentState], small: bool) -> None:
    """The order of two states does not matter."""
    with bounds(small=small):
        assert join(fold(a), fold(b)) == join(fold(b), fold(a))


@with_any_bounds
@given(a=histories, b=histories, c=histories)
def test_join_is_associative(a: list[DocumentState], b: list[DocumentState], c: list[DocumentState], small: bool) -> None:
    """Nor does how they are grouped."""
    with bounds(small=small):
        assert join(join(fold(a), fold(b)), fold(c)) == join(fold(a), join(fold(b), fold(c)))


@with_any_bounds
@given(history=histories)
def test_join_is_idempotent(history: list[DocumentState], small: bool) -> None:
    """Nor how often they come."""
    with bounds(small=small):
        state = fold(history)
        assert join(state, state._replace()) == state
        assert join(state, EMPTY) == state
        assert join(EMPTY, state) == state


@with_any_bounds
@given(events=histories, rng=st.randoms(use_true_random=False))
def test_any_order_and_duplication_gives_the_same_state(events: list[DocumentState], rng: random.Random, small: bool) -> None:
    """The fold of a shuffled history with repeats is the fold of the history."""
    shuffled = events + rng.sample(events, len(events) // 2)
    rng.shuffle(shuffled)
    with bounds(small=small):
        assert fold(shuffled) == fold(events)


def _told_end(events: Sequence[DocumentState]) -> float:
    """When the content that counts ends, from all that events said and without any bound."""
    deleted = max((event.deleted for event in events), default=-1)
    content = max((event.content_version for event in events if event.content_version > deleted), default=-1)
    entries = [entry for event in events for entry in event.expiry if entry.version > deleted]
    base = max((entry.version for entry in entries if entry.extends and entry.version <= content), default=-1)
    own = [entry.at_ms for entry in entries if entry.extends and entry.version == base]
    later = [entry.at_ms for entry in entries if entry.version > base]
    return min((at_ms for at_ms in own + later if at_ms is not None), default=float("inf"))


@with_any_bounds
@given(events=histories)
def test_no_document_outlives_an_end(events: list[DocumentState], small: bool) -> None:
    """However many events came; where few came it lives to its end."""
    with bounds(small=small):
        state = fold(events)
        ends = state.expires_at_ms()
        if state.content is not None:
            assert (float("inf") if ends is None else ends) <= _told_end(events)
            assert small or (float("inf") if ends is None else ends) == _told_end(events)


@given(states)
def test_a_state_survives_the_wire(state: DocumentState) -> None:
    """Registers written to the log are the registers read back."""
    assert state_from_wire(state_to_wire(state)) == state


def test_an_event_without_an_acl_changes_no_acl() -> None:
    """An edit of the text leaves who may read it alone."""
    state = fold([effect_of(version=1, digest="A", allow=("group:hr",)), effect_of(version=2, digest="B")])
    assert state.readable_by(principals_of(["group:hr"]))
    assert not state.readable_by(principals_of([]))


def test_access_that_arrives_before_an_older_text_is_kept() -> None:
    """Interleaving 1: access v6, then late content v5: both count."""
    state = fold([effect_of(version=6, allow=("group:hr",)), effect_of(version=5, digest="B", allow=("*",))])
    assert state.content_version == 5
    assert not state.readable_by(principals_of([]))


def test_a_delete_wins_a_tie() -> None:
    """At one version the delete counts."""
    assert fold([effect_of(version=3, digest="A"), effect_of(version=3, deletes=True)]).content is None


def test_after_a_delete_an_older_acl_no_longer_counts() -> None:
    """What comes after a delete starts anew: nobody but the operator until an ACL says otherwise."""
    state = fold(
        [effect_of(version=1, digest="A", allow=("*",)), effect_of(version=2, deletes=True), effect_of(version=3, digest="A")]
    )
    assert not state.readable_by(principals_of([]))
    assert state.readable_by(frozenset({OPERATOR}))


def test_a_failed_redaction_does_not_let_a_later_grant_open_the_old_text() -> None:
    """v4 secret, v5 redacts it but is a dead letter, v6 opens to all: v4's text stays with those who had it."""
    secret = effect_of(version=4, digest="secret", allow=("group:hr",))
    redaction = effect_of(version=5, digest="redacted", failed=True)
    grant = effect_of(version=6, allow=("*",))
    assert not fold([secret, redaction, grant]).readable_by(principals_of(["user:ann"]))
    assert not fold([grant, redaction, secret]).readable_by(principals_of(["user:ann"]))
    assert fold([secret, redaction, grant]).readable_by(principals_of(["group:hr"]))
    mended = fold([secret, redaction, grant, effect_of(version=5, digest="redacted")])
    assert mended.readable_by(principals_of(["user:ann"]))


def test_a_failed_events_narrower_acl_applies() -> None:
    """A dead letter whose ACL takes someone out takes them out."""
    state = fold(
        [effect_of(version=1, digest="A", allow=("*",)), effect_of(version=2, digest="B", allow=("group:hr",), failed=True)]
    )
    assert not state.readable_by(principals_of(["user:ann"]))
    assert state.readable_by(principals_of(["group:hr"]))
    assert state.is_stale


def test_only_content_extends_a_life() -> None:
    """An access change may end a document earlier, never later."""
    content = effect_of(version=1, digest="A", carries_expiry=True, expires_at_ms=100)
    assert fold([content, effect_of(version=2, carries_expiry=True, expires_at_ms=500)]).expires_at_ms() == 100
    assert fold([content, effect_of(version=2, carries_expiry=True, expires_at_ms=50)]).expires_at_ms() == 50
    assert fold([content, effect_of(version=2, digest="B", carries_expiry=True, expires_at_ms=500)]).expires_at_ms() == 500
    assert fold([content, effect_of(version=2, digest="B", carries_expiry=True)]).expires_at_ms() is None


def test_very_many_access_changes_fail_closed_while_the_newest_text_is_a_dead_letter() -> None:
    """Where the list in force at the shown text was cut off, only the operator reads it."""
    events = [effect_of(version=1, digest="A", allow=("group:hr",)), effect_of(version=2, digest="B", failed=True)]
    events += [effect_of(version=v, allow=("*",)) for v in range(3, 100)]
    assert not fold(events).readable_by(principals_of(["user:ann"]))


def _ends(versions: Sequence[int], at_ms: Sequence[int | None]) -> list[DocumentState]:
    """Access changes with an end."""
    return [effect_of(version=v, carries_expiry=True, expires_at_ms=at) for v, at in zip(versions, at_ms, strict=True)]


def test_very_many_access_changes_with_a_later_end_leave_a_documents_own() -> None:
    """Content's word stays, whatever comes after it."""
    own = effect_of(version=1, digest="A", carries_expiry=True, expires_at_ms=GRID_MS)
    later = _ends(range(2, 1_000), [3 * GRID_MS - 1] * 998)
    assert fold([own, *later]).expires_at_ms() == GRID_MS
    assert fold([*reversed(later), own]).expires_at_ms() == GRID_MS


def test_the_earliest_of_very_many_ends_counts() -> None:
    """Also where each change sets a later one, as a time to live does: to three days, and never later."""
    count = 2 * MAX_ENDS
    day = 86_400_000
    first = 1_760_000_000_000
    state = fold([effect_of(version=0, digest="A"), *_ends(range(1, count + 1), [first + v * day for v in range(count)])])
    ends = state.expires_at_ms()
    assert ends is not None
    assert first - GRID_MS < ends <= first
    assert len(state.expiry) < count


def test_an_end_between_a_late_text_and_many_others_is_not_forgotten() -> None:
    """To keep the earliest ends only would forget it: they end with the text that came late, and it goes on."""
    changes = _ends(range(2, 400), range(10_000, 10_398))
    late = [effect_of(version=v, digest="B", carries_expiry=True) for v in (100, 300)]
    [early, *_] = base = [effect_of(version=1, digest="A", carries_expiry=True, expires_at_ms=9_000)]
    assert fold([early, *changes, *late]) == fold([*late, *changes, *base])
    assert fold([early, *changes, *late]).expires_at_ms() == 10_299


def test_registers_stay_small_whatever_ends_come() -> None:
    """One line of the grid each, at most: a message must hold them."""
    lines = GRID_END_MS // GRID_MS
    changes = _ends(range(1, 3 * lines), range(0, (3 * lines - 1) * GRID_MS, GRID_MS))
    state = fold([fold([]), changes[0]._replace(expiry=tuple(e for change in changes for e in change.expiry))])
    state = join(state, effect_of(version=0, carries_expiry=True, expires_at_ms=7))
    assert len(state.expiry) <= lines + 1 + MAX_ENDS
    assert len(str(state.expiry)) < 1_200_000


def test_very_many_failed_texts_end_a_document_whose_own_end_was_cut_off() -> None:
    """Fail closed: the end in force at the shown text is no longer known."""
    own = effect_of(version=1, digest="A", carries_expiry=True, expires_at_ms=1_000)
    failed = [
        effect_of(version=v, digest="B", failed=True, carries_expiry=True, expires_at_ms=10**6) for v in range(2, MAX_ENTRIES + 2)
    ]
    assert fold([own, *failed[:-1]]).expires_at_ms() == 1_000
    assert fold([own, *failed]).is_expired(1)
    assert fold([own, *failed, effect_of(version=100, digest="C", carries_expiry=True)]).expires_at_ms() is None
