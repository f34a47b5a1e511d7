"""The join is a semilattice, and its readings protect: whatever is uncertain narrows."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from schemas.acl import OPERATOR, principals_of
from schemas.index import state_from_wire, state_to_wire
from schemas.join import EMPTY, DocumentState, effect_of, fold, join

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


states = st.lists(effects(), max_size=5).map(fold)


@given(states, states)
def test_join_is_commutative(a: DocumentState, b: DocumentState) -> None:
    """The order of two states does not matter."""
    assert join(a, b) == join(b, a)


@given(states, states, states)
def test_join_is_associative(a: DocumentState, b: DocumentState, c: DocumentState) -> None:
    """Nor does how they are grouped."""
    assert join(join(a, b), c) == join(a, join(b, c))


@given(states)
def test_join_is_idempotent(a: DocumentState) -> None:
    """Nor how often they come."""
    assert join(a, a) == a
    assert join(a, EMPTY) == a
    assert join(EMPTY, a) == a


@given(st.lists(effects(), max_size=12), st.randoms(use_true_random=False))
def test_any_order_and_duplication_gives_the_same_state(events: list[DocumentState], rng: random.Random) -> None:
    """The fold of a shuffled history with repeats is the fold of the history."""
    shuffled = events + rng.sample(events, len(events) // 2)
    rng.shuffle(shuffled)
    assert fold(shuffled) == fold(events)


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
