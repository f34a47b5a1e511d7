"""What every vector store keeps to."""

from __future__ import annotations

import random

import numpy as np
import pytest

from connectors.milvus import Row, VectorStore
from schemas.errors import Fatal, Misconfigured
from tests.contract.connectors.milvus.rows import DIMENSION, NOW_MS, TIMEOUT_S, row, unit

READER = frozenset({"user:ann", "*"})


def write(store: VectorStore, collection: str, *rows: Row) -> None:
    store.wait_visible(collection, store.upsert(collection, rows), TIMEOUT_S)


def found(store: VectorStore, collection: str, principals: frozenset[str] | None = READER, limit: int = 10) -> list[str]:
    hits = store.search(collection, unit(0), limit, principals, NOW_MS, TIMEOUT_S)
    return sorted(hit.row_id for hit in hits)


def ids(*rows: Row) -> list[str]:
    return sorted(made.row_id for made in rows)


def test_ensure_is_idempotent(store: VectorStore, collection: str) -> None:
    """Ensuring again keeps the rows."""
    write(store, collection, row(1))
    store.ensure(collection, DIMENSION)
    assert collection in store.collections()
    assert store.count(collection) == 1


def test_another_dimension_is_refused(store: VectorStore, collection: str) -> None:
    """A collection of another encoder is never mixed; the message names both sizes and the remedy."""
    with pytest.raises(Misconfigured, match=r"8 dimensions, the encoder makes 16.*RAG_GENERATION=g2"):
        store.ensure(collection, 16)


def test_a_vector_of_another_dimension_is_refused(store: VectorStore, collection: str) -> None:
    """A row that doesn't fit stops the writer instead of being tried for ever."""
    with pytest.raises(Fatal):
        store.upsert(collection, [row(1, vector=unit(1, 5))])


def test_a_missing_collection_is_named(store: VectorStore, unique_name: str) -> None:
    """Searching what was never made is a matter of settings."""
    with pytest.raises(Misconfigured, match=unique_name):
        found(store, unique_name)


def test_dropping_is_idempotent(store: VectorStore, unique_name: str) -> None:
    """Dropping what isn't there is no error, and a name can be used again."""
    store.drop(unique_name)
    store.ensure(unique_name, DIMENSION)
    write(store, unique_name, row(1))
    store.drop(unique_name)
    store.ensure(unique_name, DIMENSION)
    assert store.count(unique_name) == 0
    store.drop(unique_name)
    assert unique_name not in store.collections()


def test_upserting_again_changes_nothing(store: VectorStore, collection: str) -> None:
    """A replayed batch leaves one row of each id."""
    rows = [row(number) for number in range(20)]
    write(store, collection, *rows)
    write(store, collection, *rows)
    assert store.count(collection) == 20
    assert sorted(store.row_ids(collection)) == ids(*rows)


def test_the_last_of_several_rows_with_one_id_wins(store: VectorStore, collection: str) -> None:
    """Within one batch, too."""
    write(store, collection, row(1, doc="old"), row(2), row(1, doc="new", vector=unit(9)))
    assert store.count(collection) == 2
    hits = store.search(collection, unit(9), 10, READER, NOW_MS, TIMEOUT_S)
    assert [hit.doc_key for hit in hits if hit.row_id == row(1).row_id] == ["docs/new"]
    np.testing.assert_allclose(store.vectors(collection, [row(1).row_id])[row(1).row_id], unit(9), rtol=1e-6)


def test_an_upsert_replaces_every_field(store: VectorStore, collection: str) -> None:
    """Access that is taken away is away once the write is visible."""
    write(store, collection, row(1), row(2))
    write(store, collection, row(1, allow=("user:bob",)))
    assert found(store, collection) == ids(row(2))


def test_nothing_is_written_for_no_rows(store: VectorStore, collection: str) -> None:
    """An empty batch is visible at once."""
    write(store, collection)
    assert store.count(collection) == 0


def test_more_rows_than_fit_one_request(store: VectorStore, collection: str) -> None:
    """Large batches with long allow-lists arrive whole."""
    long_list = tuple(f"user:{'é' * 180}{number:03}" for number in range(256))
    rows = [row(number, allow=(*long_list[:-1], "user:ann") if number % 100 == 0 else ("*",)) for number in range(1500)]
    write(store, collection, *rows)
    assert store.count(collection) == 1500
    assert len(store.search(collection, unit(0), 1500, frozenset({"user:ann"}), NOW_MS, TIMEOUT_S)) == 15


def test_deleting_is_idempotent(store: VectorStore, collection: str) -> None:
    """Ids that are gone, never were, or come twice are no error."""
    write(store, collection, row(1), row(2), row(3))
    for _ in range(2):
        store.delete(collection, [row(1).row_id, row(1).row_id, row(99).row_id])
    store.delete(collection, [])
    assert sorted(store.row_ids(collection)) == ids(row(2), row(3))
    assert store.count(collection) == 2


def test_a_deleted_row_can_be_written_again(store: VectorStore, collection: str) -> None:
    """A delete reaches only what was there."""
    write(store, collection, row(1))
    store.delete(collection, [row(1).row_id])
    write(store, collection, row(1))
    assert found(store, collection) == ids(row(1))


@pytest.mark.parametrize("seed", range(3))
def test_ids_are_exact_after_churn(store: VectorStore, collection: str, seed: int) -> None:
    """After any sequence of writes and deletes the ids, the count and the vectors are those of a dict."""
    chance = random.Random(seed)
    model: dict[str, Row] = {}
    for _ in range(25):
        picked = [row(chance.randrange(60), vector=unit(chance.randrange(1000))) for _ in range(chance.randrange(1, 20))]
        if chance.random() < 0.6:
            store.upsert(collection, picked)
            model.update({made.row_id: made for made in picked})
        else:
            store.delete(collection, [made.row_id for made in picked])
            for made in picked:
                model.pop(made.row_id, None)
    listed = list(store.row_ids(collection))
    assert sorted(listed) == sorted(model)
    assert store.count(collection) == len(model)
    store.wait_visible(collection, store.upsert(collection, list(model.values())), TIMEOUT_S)
    vectors = store.vectors(collection, [row(number).row_id for number in range(60)])
    assert vectors.keys() == model.keys()
    for row_id, vector in vectors.items():
        np.testing.assert_allclose(vector, model[row_id].vector, rtol=1e-6)


def test_hits_are_ranked_by_cosine(store: VectorStore, collection: str) -> None:
    """Best first, each once, with its score and document; lengths don't matter."""
    rows = [row(number, vector=unit(number) * (number + 1), doc=f"d/{number}") for number in range(50)]
    write(store, collection, *rows)
    hits = store.search(collection, unit(0) * 7, 50, READER, NOW_MS, TIMEOUT_S)
    expected = sorted(((float(unit(number) @ unit(0)), f"docs/d/{number}") for number in range(50)), reverse=True)
    assert [hit.doc_key for hit in hits] == [doc_key for _, doc_key in expected]
    np.testing.assert_allclose([hit.score for hit in hits], [score for score, _ in expected], atol=1e-5)


def test_a_search_returns_no_more_than_asked_for(store: VectorStore, collection: str) -> None:
    """The limit is kept, down to nothing."""
    write(store, collection, *(row(number) for number in range(20)))
    assert len(found(store, collection, limit=3)) == 3
    assert found(store, collection, limit=0) == []


def test_rows_are_hidden_from_whoever_is_not_on_the_list(store: VectorStore, collection: str) -> None:
    """Lists are matched name by name; the operator reads everything, a caller without names nothing."""
    rows = [row(1, allow=("user:ann",)), row(2, allow=("group:hr", "user:bob")), row(3, allow=()), row(4)]
    write(store, collection, *rows)
    assert found(store, collection, READER) == ids(rows[0], rows[3])
    assert found(store, collection, frozenset({"group:hr", "*"})) == ids(rows[1], rows[3])
    assert found(store, collection, frozenset({"user:an", "user:anna"})) == []
    assert found(store, collection, frozenset()) == []
    assert found(store, collection, None) == ids(*rows)


@pytest.mark.parametrize(
    "name", ["user:o'brien", "user:100%_{x}[y](z)", "user:é🎉漢字", "group:a,b;--", "user:\u00a0ann", "user:$$//**"]
)
def test_odd_principals_match_as_they_are(store: VectorStore, collection: str, name: str) -> None:
    """Whatever may stand in an allow-list is matched literally."""
    write(store, collection, row(1, allow=(name,)), row(2, allow=("user:other",)))
    assert found(store, collection, frozenset({name})) == (ids(row(1)) if "\u00a0" not in name else [])


@pytest.mark.parametrize("name", ['user:x"]) or row_id != "', "user:x\\", "user:a\nb", "*x", "role:operator", "", 'user:"'])
def test_names_that_no_list_can_hold_match_nothing(store: VectorStore, collection: str, name: str) -> None:
    """A caller's name is never read as an expression."""
    write(store, collection, row(1, allow=("user:x",)), row(2, allow=()))
    assert found(store, collection, frozenset({name})) == []
    assert found(store, collection, frozenset({name, "user:x"})) == ids(row(1))


def test_expired_rows_are_not_found(store: VectorStore, collection: str) -> None:
    """From its very millisecond on, for the operator too."""
    rows = [row(1, expires_at_ms=NOW_MS - 1), row(2, expires_at_ms=NOW_MS), row(3, expires_at_ms=NOW_MS + 1), row(4)]
    write(store, collection, *rows)
    assert found(store, collection) == ids(rows[2], rows[3])
    assert found(store, collection, None) == ids(rows[2], rows[3])


def test_who_checks_elsewhere_finds_every_row(store: VectorStore, collection: str) -> None:
    """Without principals and moment nothing is passed over: neither what is for others nor what has expired."""
    rows = [row(1, allow=()), row(2, allow=("user:ann",)), row(3, expires_at_ms=1), row(4)]
    write(store, collection, *rows)
    hits = store.search(collection, unit(1), 10, None, 0, TIMEOUT_S)
    assert {hit.row_id for hit in hits} == {made.row_id for made in rows}


def test_vectors_of_rows_that_exist(store: VectorStore, collection: str) -> None:
    """What isn't there is left out; asking twice for one is asking once."""
    rows = [row(number) for number in range(700)]
    write(store, collection, *rows)
    vectors = store.vectors(collection, [made.row_id for made in rows] + [row(0).row_id, row(9999).row_id])
    assert vectors.keys() == {made.row_id for made in rows}
    assert all(vector.dtype == np.float32 for vector in vectors.values())
    np.testing.assert_allclose(vectors[row(5).row_id], unit(5), rtol=1e-6)
    assert store.vectors(collection, []) == {}


def test_named_rows_are_scored_one_by_one(store: VectorStore, collection: str) -> None:
    """Exactly these rows, best first, whoever may read them."""
    rows = [row(number, allow=()) for number in range(300)]
    write(store, collection, *rows)
    chosen = [made.row_id for made in rows[::3]]
    hits = store.search_rows(collection, unit(0), [*chosen, row(9999).row_id], 10, TIMEOUT_S)
    expected = sorted(range(0, 300, 3), key=lambda number: -float(unit(number) @ unit(0)))[:10]
    assert [hit.row_id for hit in hits] == [row(number).row_id for number in expected]
    assert store.search_rows(collection, unit(0), [], 10, TIMEOUT_S) == []


def test_collections_are_apart(store: VectorStore, collection: str, unique_name: str) -> None:
    """The same id in two collections is two rows."""
    other = f"{unique_name}_2"
    store.ensure(other, DIMENSION)
    write(store, collection, row(1))
    assert store.count(other) == 0
    store.drop(other)
    assert store.count(collection) == 1


def test_it_answers_a_ping(store: VectorStore) -> None:
    """A store whose server is there says so by returning."""
    store.ping(TIMEOUT_S)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ids_beyond_one_answer_are_all_listed(store: VectorStore, collection: str) -> None:
    """More rows than Milvus returns at once, bunched together or not: each id once."""
    numbers = [*range(16_000), *(number << 100 for number in range(1, 2_000))]
    store.upsert(collection, [row(number) for number in numbers])
    listed = list(store.row_ids(collection))
    assert len(listed) == len(numbers)
    assert sorted(listed) == sorted(row(number).row_id for number in numbers)
    store.delete(collection, listed)
    assert store.count(collection) == 0
