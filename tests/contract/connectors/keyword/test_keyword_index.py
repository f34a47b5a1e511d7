"""What every keyword index must do, on disk and in memory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.keyword.memory import MemoryKeywordIndex
from connectors.keyword.port import KeywordIndex, KeywordPassage
from connectors.keyword.surroundings import passages_of
from connectors.keyword.tantivy_index import TantivyIndex
from schemas.index import DocKey

A, B, C = DocKey("docs", "a"), DocKey("docs", "b"), DocKey("manuals", "c/with/slashes")


@pytest.fixture(params=["tantivy", "memory"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[KeywordIndex]:
    """An empty index of each kind."""
    made: KeywordIndex = TantivyIndex(tmp_path / "keyword").open() if request.param == "tantivy" else MemoryKeywordIndex()
    yield made
    made.close()


def fill(index: KeywordIndex) -> None:
    """Three documents, committed."""
    index.replace(
        A, [KeywordPassage("a1", "Lost cards are blocked at once.", "Cards"), KeywordPassage("a2", "Fees for transfers")]
    )
    index.replace(B, [KeywordPassage("b1", "Transfers abroad take two days, a transfer at home one.")])
    index.replace(C, [KeywordPassage("c1", "Blocking a transfer")])
    index.commit()


def rows(index: KeywordIndex, query: str, limit: int = 10) -> list[str]:
    """Row ids of a search, best first."""
    return [hit.row_id for hit in index.search(query, limit)]


def test_finds_stems_and_ranks_by_bm25(index: KeywordIndex) -> None:
    """A question's words match other forms of themselves, and more matches rank higher."""
    fill(index)
    assert rows(index, "transferring fee")[0] == "a2"
    assert set(rows(index, "transfer")) == {"a2", "b1", "c1"}
    assert rows(index, "block the lost card")[0] == "a1"


def test_hits_say_where_they_belong(index: KeywordIndex) -> None:
    """A hit carries row, document and a positive score."""
    fill(index)
    [hit] = index.search("abroad", 5)
    assert (hit.row_id, hit.key) == ("b1", B)
    assert hit.score > 0
    assert index.search("blocking", 5, ("manuals",))[0].key == C


def test_title_counts(index: KeywordIndex) -> None:
    """Between equal texts the one whose title matches wins; a title alone is found."""
    index.replace(A, [KeywordPassage("a1", "how to order one", "Debit card")])
    index.replace(B, [KeywordPassage("b1", "how to order one", "Savings account")])
    index.commit()
    assert rows(index, "debit card") == ["a1"]
    assert rows(index, "order a debit card")[0] == "a1"


def test_the_words_around_a_passage_count(index: KeywordIndex) -> None:
    """Between equal texts the one whose document says the other word wins; its own word counts more than a neighbour's."""
    index.replace(A, passages_of("", [("a1", "The fee is two euros."), ("a2", "Cash machines abroad are meant.")]))
    index.replace(B, passages_of("", [("b1", "The fee is two euros."), ("b2", "Letters at home are meant.")]))
    index.commit()
    ranked = rows(index, "fee abroad")
    assert ranked.index("a1") < ranked.index("b1")
    assert rows(index, "abroad") == ["a2", "a1"]


def test_an_edited_passage_takes_its_words_from_its_neighbours_too(index: KeywordIndex) -> None:
    """After a revision nothing is found by what no passage says any more."""
    index.replace(A, passages_of("", [("a1", "Fees"), ("a2", "abroad")]))
    index.commit()
    index.replace(A, passages_of("", [("a1", "Fees"), ("a3", "at home")]))
    index.commit()
    assert rows(index, "abroad") == []
    assert set(rows(index, "home")) == {"a1", "a3"}


def test_a_passage_that_stands_alone_is_its_own_context(index: KeywordIndex) -> None:
    """Named or not, it scores the same."""
    index.replace(A, [KeywordPassage("a1", "fees abroad")])
    index.replace(B, [KeywordPassage("b1", "fees abroad", "", "fees abroad")])
    index.commit()
    [first, second] = index.search("abroad", 5)
    assert first.score == pytest.approx(second.score)


def test_nothing_shows_before_the_commit(index: KeywordIndex) -> None:
    """Changes become visible with the commit, all at once."""
    index.replace(A, [KeywordPassage("a1", "visible")])
    assert rows(index, "visible") == []
    index.commit()
    assert rows(index, "visible") == ["a1"]


def test_replacing_is_idempotent(index: KeywordIndex) -> None:
    """Replacing twice, within a commit or across, leaves one copy; the last one counts."""
    for _ in range(2):
        index.replace(A, [KeywordPassage("a1", "twice")])
        index.replace(A, [KeywordPassage("a1", "twice")])
        index.commit()
    assert rows(index, "twice") == ["a1"]
    index.replace(A, [KeywordPassage("a1", "first")])
    index.replace(A, [KeywordPassage("a2", "second")])
    index.commit()
    assert rows(index, "first twice second") == ["a2"]


def test_removing(index: KeywordIndex) -> None:
    """A removed document is gone, its neighbours stay, and removing again is no error."""
    fill(index)
    index.remove(A)
    index.remove(A)
    index.remove(DocKey("docs", "never there"))
    index.commit()
    assert rows(index, "lost cards fees") == []
    assert rows(index, "abroad") == ["b1"]


def test_clearing(index: KeywordIndex) -> None:
    """Everything before is gone with the commit, committed or not; what comes after stays."""
    fill(index)
    index.replace(DocKey("docs", "d"), [KeywordPassage("d1", "abroad too")])
    index.clear()
    index.replace(A, [KeywordPassage("a9", "abroad again")])
    assert rows(index, "abroad") == ["b1"]
    index.commit()
    assert rows(index, "abroad") == ["a9"]


def test_filter_by_index(index: KeywordIndex) -> None:
    """Only the named indexes are searched; scores are those of the whole."""
    fill(index)
    assert [hit.row_id for hit in index.search("transfer", 10, ("manuals",))] == ["c1"]
    everywhere = {hit.row_id: hit.score for hit in index.search("transfer", 10)}
    assert index.search("transfer", 10, ("manuals",))[0].score == pytest.approx(everywhere["c1"], rel=1e-4)
    assert index.search("transfer", 10, ("nowhere",)) == []


def test_search_within_documents(index: KeywordIndex) -> None:
    """Only the given documents are searched."""
    fill(index)
    assert {hit.row_id for hit in index.search_within("transfer", 10, {B, C})} == {"b1", "c1"}
    assert index.search_within("transfer", 10, set()) == []
    assert [hit.row_id for hit in index.search_within("transfer block", 1, {C})] == ["c1"]


def test_limit(index: KeywordIndex) -> None:
    """No more than was asked for; nothing for nothing."""
    fill(index)
    assert len(rows(index, "transfer", 2)) == 2
    assert rows(index, "transfer", 0) == []


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TantivyIndex]:
    """One index on disk for many examples."""
    index = TantivyIndex(tmp_path_factory.mktemp("keyword") / "k").open()
    yield index
    index.close()


@pytest.mark.parametrize(
    "query",
    [
        "title:card AND (",
        "card* OR -fees",
        '"unbalanced',
        "a:b:c",
        "[* TO *]",
        "^~!{}[]\\",
        "",
        "   ",
        "the of a",
        "NOT card",
        "\x00",
    ],
)
def test_questions_are_never_syntax(index: KeywordIndex, query: str) -> None:
    """What a query language would interpret is text like any other."""
    fill(index)
    for hit in index.search(query, 10):
        assert hit.row_id in {"a1", "a2"}, "only passages that hold the words"


def test_other_scripts(index: KeywordIndex) -> None:
    """Accents, umlauts, Cyrillic and unspaced Chinese and Japanese are found."""
    index.replace(A, [KeywordPassage("a1", "Überweisung im Café"), KeywordPassage("a2", "перевод денег")])
    index.replace(B, [KeywordPassage("b1", "如何冻结银行卡"), KeywordPassage("b2", "カードを止める")])
    index.commit()
    assert rows(index, "cafe uberweisung") == ["a1"]
    assert rows(index, "Перевод") == ["a2"]
    assert rows(index, "冻结")[0] == "b1"
    assert rows(index, "止める")[0] == "b2"


def test_unpaired_surrogates_are_taken(index: KeywordIndex) -> None:
    """Broken Unicode in text, id or question is no error."""
    broken = DocKey("docs", "id\ud800")
    index.replace(broken, [KeywordPassage("x1", "half \udc00 pair", "t\ud801")])
    index.commit()
    assert rows(index, "pair \ud800") == ["x1"]
    index.remove(broken)
    index.commit()
    assert rows(index, "pair") == []


def test_very_long_questions_are_bounded(index: KeywordIndex) -> None:
    """A question of many thousand words is searched by its rarest terms."""
    fill(index)
    question = " ".join(f"word{n}" for n in range(5_000)) + " abroad " + "x" * 100_000
    assert rows(index, question) == ["b1"]


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=300), query=st.text(max_size=300))
def test_any_text_is_safe(shared: TantivyIndex, text: str, query: str) -> None:
    """Whatever is indexed and asked is no error, and both kinds agree on what is found."""
    memory = MemoryKeywordIndex()
    for index in (shared, memory):
        index.replace(A, [KeywordPassage("a1", text, text[:20])])
        index.commit()
    for asked in (query, text):
        assert rows(shared, asked) == rows(memory, asked)


OpenIndex = Callable[[], TantivyIndex]


@pytest.fixture
def opened(tmp_path: Path) -> OpenIndex:
    """Opens the same folder again and again."""
    return lambda: TantivyIndex(tmp_path / "keyword", stamp="s1").open()


def test_both_kinds_rank_alike(tmp_path: Path) -> None:
    """The fake's scores are BM25's too: same order as Tantivy on texts of one length class."""
    disk, memory = TantivyIndex(tmp_path / "k").open(), MemoryKeywordIndex()
    for index in (disk, memory):
        fill(index)
    for query in ("lost card", "transfer abroad", "block a transfer", "fees"):
        on_disk, in_memory = disk.search(query, 5), memory.search(query, 5)
        assert [hit.row_id for hit in on_disk] == [hit.row_id for hit in in_memory]
        assert [hit.score for hit in on_disk] == pytest.approx([hit.score for hit in in_memory], rel=0.02)
    disk.close()


def test_reopened_it_has_what_was_committed(opened: OpenIndex) -> None:
    """Committed passages survive, uncommitted ones do not, and it says whether it is fresh."""
    index = opened()
    assert index.is_fresh
    fill(index)
    index.replace(B, [KeywordPassage("b9", "uncommitted")])
    index.close()
    again = opened()
    assert not again.is_fresh
    assert rows(again, "abroad") == ["b1"]
    assert rows(again, "uncommitted") == []
    again.close()


@pytest.mark.parametrize("damage", ["truncated-segment", "garbled-meta", "no-meta", "half-made"])
def test_damaged_files_are_emptied(opened: OpenIndex, tmp_path: Path, damage: str) -> None:
    """A damaged index opens empty, says that it is fresh, and works."""
    index = opened()
    fill(index)
    index.close()
    files = tmp_path / "keyword" / "tantivy"
    if damage == "truncated-segment":
        for path in (*files.glob("*.idx"), *files.glob("*.store")):
            path.write_bytes(path.read_bytes()[:10])
    elif damage == "garbled-meta":
        (files / "meta.json").write_text("{")
    elif damage == "no-meta":
        (files / "meta.json").unlink()
    else:
        (tmp_path / "keyword" / "stamp.txt").unlink()
    again = opened()
    assert again.is_fresh
    assert rows(again, "abroad") == []
    fill(again)
    assert rows(again, "abroad") == ["b1"]
    again.close()


def test_another_stamp_empties_it(opened: OpenIndex, tmp_path: Path) -> None:
    """An index that belongs to another view is not used."""
    index = opened()
    fill(index)
    index.close()
    other = TantivyIndex(tmp_path / "keyword", stamp="s2").open()
    assert other.is_fresh
    other.close()
