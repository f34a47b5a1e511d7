"""The routes file: what it may say, and what is said about it when it is wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from query_api.routing.file import MAX_EXAMPLES, MAX_FILE_KIB, MAX_ROUTES, built_in, read_routes
from query_api.routing.lines import InvalidYaml, read_yaml
from schemas.errors import Misconfigured
from tests.markdown import code_blocks

INDEXES = {"docs": "", "hr": "Holidays, sick leave and pay."}

WRONG = {
    "not YAML": ("routes:\n  cards: [", "line 2: "),
    "a typo": ("routes:\n  cards:\n    indexes: [docs]\n    exmaples: [a]\n", "line 4: routes.cards.exmaples: no such field"),
    "a top-level typo": ("route:\n  cards: {}\n", "line 1: route: no such field. There are: routes, background"),
    "no mapping": ("- cards\n", "line 1: the file: must hold fields"),
    "an index that isn't there": (
        "routes:\n  cards:\n    indexes: [docs, crads]\n    examples: [Freeze]\n",
        "line 3: route `cards` names crads, and there is no such index. There are: docs, hr",
    ),
    "a word that YAML takes for another thing": (
        "routes:\n  cards:\n    indexes: [docs]\n    examples:\n      - yes\n",
        "line 5: routes.cards.examples.0: must be text, and YAML reads 'True' as something else. Put it in quotes",
    ),
    "an empty example": ('routes:\n  cards:\n    indexes: [docs]\n    examples: [""]\n', "line 4: routes.cards.examples.0: "),
    "nothing to go by": (
        "routes:\n  cards:\n    indexes: [docs]\n",
        "line 2: route `cards` has neither examples nor a description",
    ),
    "silence without a reply": (
        "routes:\n  jokes:\n    examples: [Knock knock]\n",
        "line 2: route `jokes` has no indexes, so it needs a",
    ),
    "silence without examples": (
        "routes:\n  jokes:\n    reply: Ha.\n",
        "line 2: route `jokes` has no indexes, so it needs `examples`",
    ),
    "a reply that is never said": (
        "routes:\n  cards:\n    indexes: [docs]\n    examples: [Freeze]\n    reply: Hm.\n",
        "line 5: route `cards` has indexes to search, so its `reply` would never be said",
    ),
    "a key twice": ("routes:\n  cards: {}\n  cards: {}\n", "line 3: `cards` is given twice, first on line 2"),
    "a name that means something else": (
        "routes:\n  all:\n    indexes: [docs]\n    examples: [Freeze]\n",
        "line 2: route `all` can't have this name",
    ),
    "a name that is none": ("routes:\n  My Cards: {}\n", "line 2: routes.My Cards: "),
    "an example in two routes": (
        "routes:\n  a:\n    indexes: [docs]\n    examples: [Freeze it]\n  b:\n    indexes: [hr]\n    examples: [x, freeze  IT]\n",
        "line 7: route `b` shares the example",
    ),
    "an example of small talk": (
        "routes:\n  a:\n    indexes: [docs]\n    examples:\n      - Freeze it\n      - hi\n",
        "line 6: route `a` shares the example 'hi' with route `small-talk`",
    ),
    "a score out of range": ("routes:\n  small-talk:\n    min_score: 2\n", "line 3: routes.small-talk.min_score: "),
    "an alias": ("routes:\n  a: &x {indexes: [docs]}\n  b: *x\n", "alias"),
    "too many routes": ("routes:\n" + "".join(f"  r{n}: {{}}\n" for n in range(MAX_ROUTES + 1)), "more than 64"),
    "too many examples": (f"background: [{', '.join('x' for _ in range(MAX_EXAMPLES + 1))}]\n", "more than 500"),
    "nested without end": ("background: " + "[" * 5_000, "nested"),
    "too large": ("# " + "x" * MAX_FILE_KIB * 1024, "KiB is the most"),
}


def written(folder: Path, text: str) -> Path:
    path = folder / "routes.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_with_line_and_remedy(tmp_path: Path, text: str, said: str) -> None:
    """The error names the file, the line and what to do; it stays short."""
    with pytest.raises(Misconfigured) as refused:
        read_routes(written(tmp_path, text), INDEXES)
    assert said in str(refused.value)
    assert "routes.yaml" in str(refused.value)
    assert len(str(refused.value)) < 1_500


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """With the setting that names it."""
    with pytest.raises(Misconfigured, match=re.escape("RAG_QUERY__ROUTES_FILE")):
        read_routes(tmp_path / "none.yaml", INDEXES)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    """UTF-8 or an error."""
    (tmp_path / "routes.yaml").write_bytes(b"routes: \xff\xfe")
    with pytest.raises(Misconfigured, match="UTF-8"):
        read_routes(tmp_path / "routes.yaml", INDEXES)


def test_without_a_file_small_talk_is_the_only_route() -> None:
    """What comes along looks nothing up, has a reply and a background to be told apart from."""
    routes = read_routes(None, INDEXES)
    assert list(routes.in_use) == ["small-talk"]
    assert routes.routes["small-talk"].looks_nothing_up
    assert routes.routes["small-talk"].reply
    assert routes.background


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    """Comments only."""
    assert read_routes(written(tmp_path, "# none yet\n"), INDEXES) == built_in()


def test_small_talk_can_be_added_to(tmp_path: Path) -> None:
    """What is given replaces, examples are added."""
    text = "routes:\n  small-talk:\n    reply: Ask me about cards.\n    examples: [Ahoy]\n"
    spec = read_routes(written(tmp_path, text), INDEXES).routes["small-talk"]
    below = built_in().routes["small-talk"]
    assert spec.reply == "Ask me about cards."
    assert spec.examples == (*below.examples, "Ahoy")
    assert spec.min_score == below.min_score


def test_small_talk_can_be_replaced(tmp_path: Path) -> None:
    """Its own examples go."""
    text = "routes:\n  small-talk:\n    replace_examples: true\n    examples: [Ahoy]\n"
    assert read_routes(written(tmp_path, text), INDEXES).routes["small-talk"].examples == ("Ahoy",)


def test_small_talk_can_be_turned_off(tmp_path: Path) -> None:
    """Then every question is looked up."""
    assert not read_routes(written(tmp_path, "routes:\n  small-talk:\n    enabled: false\n"), INDEXES).in_use


def test_a_route_without_a_description_takes_its_indexes(tmp_path: Path) -> None:
    """That alone is enough to go by; a description of its own replaces it, and an index without one adds nothing."""
    own = "own: {indexes: [hr], description: Mine.}\n  cards: {indexes: [docs], examples: [Pin]}"
    text = f"routes:\n  people: {{indexes: [docs, hr]}}\n  {own}\n"
    routes = read_routes(written(tmp_path, text), INDEXES).routes
    assert {name: routes[name].texts for name in ("people", "own", "cards")} == {
        "people": (INDEXES["hr"],),
        "own": ("Mine.",),
        "cards": ("Pin",),
    }


def test_a_full_background_may_be_added(tmp_path: Path) -> None:
    """The limit is on what an operator writes, not on the sum."""
    text = "background:\n" + "".join(f"  - How is {n} done?\n" for n in range(MAX_EXAMPLES))
    assert len(read_routes(written(tmp_path, text), INDEXES).background) == MAX_EXAMPLES + len(built_in().background)


def test_the_pages_example_is_taken(tmp_path: Path) -> None:
    """docs/routing.md shows a file that works."""
    (example,) = (block.text for block in code_blocks("routing.md") if block.language == "yaml")
    assert {"customers", "people", "small-talk"} == read_routes(written(tmp_path, example), INDEXES).in_use.keys()


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else comes out of the reader, whatever goes in."""
    try:
        located = read_yaml(text)
    except InvalidYaml as refused:
        assert str(refused)
    else:
        assert located.line(("routes", "none")) >= 1
