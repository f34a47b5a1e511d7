"""Whether two questions say the same as far as words tell: what embeddings don't see. Pure.

Embeddings put `upgrade from 2.3` and `downgrade to 2.4` at 0.98, and both are answered from the same passages. So whatever can
turn a question around is compared word by word: numbers, codes and names, negation, opposites, directions, who does what to
whom, what kind of thing is asked, mood and tense, and one word put in another's place or added. What differs must be known to
mean the same, or the questions are two. English is known; in other languages figures, codes and the words themselves.

Time is in proportion to the texts' length, which is bounded.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from typing import Final, NamedTuple

from query_api.answer.terms import STOP_WORDS
from query_api.cache.reading import EMPTY, FRAME, LONGEST, STATED, Reading, facts, read, root
from query_api.cache.synonyms import means

# ruff: noqa: SIM905  (lists of words read best as words)

IN_PLACE: Final = 3
"""Words that are replaced as one."""
CONDITION: Final = 6
"""Words within which a condition speaks of what follows it."""
ORDERED: Final = 12
"""Weighty words whose order is compared pair by pair; more in another order are another question."""
_RESTRICTING: Final = frozenset("only solely exclusively except unless alone exact approx morethan lessthan".split())
"""What one question says and the other doesn't, they differ by."""
_COMPARES: Final = frozenset(
    "than versus vs rather instead compared over prefer replace replaced before after until depend depends".split()
)
_CONDITIONS: Final = frozenset("if unless when while because although except".split())
_WEAK: Final = frozenset("new same own again need more other".split())
"""What bears on a question only where nothing else is said otherwise."""
_CONTRARY: Final = (
    ("to", "from"), ("for", "from"), ("by", "to"), ("by", "for"), ("before", "after"), ("to", "of"), ("for", "against"),
    ("until", "since"), ("until", "from"), ("within", "after"), ("during", "after"), ("in", "after"), ("in", "outside"),
    ("under", "over"),
)  # fmt: skip
_PLACELESS: Final = frozenset({root("mean"), root("meaning"), root("happen"), root("happens")})
_ASKS: Final = frozenset("how what where when why who which can is are do does".split())
_ROLES: Final = (
    ("er", ("ers", "er", "ators", "ator", "ors", "or", "ees", "ee", "ists", "ist")),
    ("y", ("ies", "ied", "y")),
    ("al", ("als", "al")),
    ("ive", ("ively", "ives", "ive")),
)
"""Endings that make another word of a stem, not another form of the same: `customs` and `customer`, `police` and `policy`."""


def conflict_between(a: str, b: str) -> str:
    """A code of what contradicts: `number`, `code`, `name`, `negation`, `opposite`, `prefix`, `order`, `direction`, `mood`,
    `kind`, `other_word`, `added_word`, `too_long`; empty: nothing does. Symmetric."""
    if a == b:
        return ""
    if max(len(a), len(b)) > LONGEST:
        return "" if a.split() == b.split() else "too_long"
    first, second = sorted((a, b))  # so that who asked first can make no difference
    return _conflict(read(first), read(second))


def facts_differ(a: str, b: str) -> bool:
    """Whether two answers, of any length, state other figures, or one denies what the other says."""
    return facts(a) != facts(b)


def _conflict(one: Reading, other: Reading) -> str:
    found = ""
    if one.numbers != other.numbers:
        found = "number"
    elif one.codes != other.codes:
        found = "code"
    elif one.words == other.words:
        pass
    elif one.negations % 2 != other.negations % 2:
        found = "negation"
    elif one.squashed == other.squashed:
        pass
    elif _opposed(one.sides, other.sides):
        found = "opposite"
    elif _turned_by_affix(one, other):
        found = "prefix"
    elif _kinds_differ(one.kinds, other.kinds) or _asks_what(one, other) or _asks_what(other, one):
        found = "kind"
    elif _names_differ(one, other):
        found = "name"
    elif _points_elsewhere(one, other):
        found = "direction"
    elif (set(one.words) ^ set(other.words)) & _RESTRICTING:
        found = "added_word"
    else:
        found = _said_otherwise(one, other)
    return found


def _opposed(one: frozenset[tuple[int, int]], other: frozenset[tuple[int, int]]) -> bool:
    """Whether a set of opposites has one side only here and another only there."""
    here, there = {group for group, _ in one - other}, {group for group, _ in other - one}
    return bool(here & there)


def _turned_by_affix(one: Reading, other: Reading) -> bool:
    """`lock` here and `unlock` there, `taxable` and `non-taxable`, `harmful` and `harmless`, `prepaid` and `postpaid`."""
    shared = set(one.words) & set(other.words)
    here: dict[str, set[str]] = defaultdict(set)
    for form in one.forms:
        if form.word not in shared:
            here[form.bare].add(form.affix)
    return any(
        form.word not in shared and here.get(form.bare, set()) - {form.affix}
        for form in other.forms
        if here.get(form.bare) and not (form.affix == "" and here[form.bare] == {""})
    )


def _kinds_differ(one: frozenset[str], other: frozenset[str]) -> bool:
    """`why` is not `when` and not `how`; what is told and not asked (`my card is blocked`) may be about any of them."""
    if STATED in one or STATED in other:
        return False
    return one != other


def _asks_what(one: Reading, other: Reading) -> bool:
    """`what do I need` here and `do I need` there."""
    opening = one.words[:2]
    return (
        other.is_yes_or_no
        and len(opening) > 1
        and opening[0] in {"what", "which"}
        and opening[1] in {"do", "does", "did", "must"}
    )


def _names_differ(one: Reading, other: Reading) -> bool:
    """A name in mid-sentence that the other doesn't hold, however it is written."""
    mine, theirs = {root(word) for word in one.words}, {root(word) for word in other.words}
    return any(root(name) not in theirs for name in one.names) or any(root(name) not in mine for name in other.names)


def _points_elsewhere(one: Reading, other: Reading) -> bool:
    """`from the card` here and `to the card` there."""
    for word in one.ways.keys() & other.ways.keys():
        mine, theirs = one.ways[word], other.ways[word]
        for a, b in _CONTRARY:
            here = (a in mine and b in theirs and a not in theirs) or (b in mine and a in theirs and b not in theirs)
            if here:
                return True
    return False


def _said_otherwise(one: Reading, other: Reading) -> str:
    """What is left when nothing contradicts outright: words that only one of the two holds, and the order of the others."""
    alike = _alike(_missing(one, other), _missing(other, one))
    mine, theirs = alike.mine, alike.theirs
    if (one.is_foreign or other.is_foreign) and (mine or theirs or _characters(one) != _characters(other)):
        return "other_word" if mine and theirs else "added_word"
    if not (mine and theirs):
        mine, theirs = ([word for word in words if word not in FRAME] for words in (mine, theirs))
    if mine or theirs:
        return _reordered_by_comparison(one, other) or _replaced(one, other, mine, theirs)
    return _turned_round(one, other, alike.same)


def _missing(one: Reading, other: Reading) -> list[str]:
    """Weighty words of one, figures left out, that the other doesn't hold in any form."""
    theirs = set(other.content)
    return [word for word in one.weighty if root(word) not in theirs]


class _Alike(NamedTuple):
    """Words of either question that the other says in no other word, and the roots of those that it does."""

    mine: list[str]
    theirs: list[str]
    same: dict[str, str]


def _alike(mine: list[str], theirs: list[str]) -> _Alike:
    """Of more than `ORDERED` words on a side none is looked for among the other's."""
    if max(len(mine), len(theirs)) > ORDERED:
        return _Alike(mine, theirs, {})
    left, unmatched, same = list(theirs), [], {}
    for word in mine:
        found = next((at for at, its in enumerate(left) if means(word, its)), None)
        if found is None:
            unmatched.append(word)
        else:
            same[root(word)] = root(left.pop(found))
    return _Alike(unmatched, left, same)


def _characters(reading: Reading) -> Counter[str]:
    """Of scripts written without spaces, in which a word that stands there once more is told by nothing else."""
    return Counter(word for word in reading.words if len(word) == 1 and not word.isascii())


def _reordered_by_comparison(one: Reading, other: Reading) -> str:
    """`X before Y`, `X faster than Y`: the weighty words that are shared, in another order."""
    shared = set(one.content) & set(other.content)
    if [word for word in one.content if word in shared] == [word for word in other.content if word in shared]:
        return ""
    return "order" if _compares(one) or _compares(other) else ""


def _compares(reading: Reading) -> bool:
    return not _COMPARES.isdisjoint(reading.words)


def _replaced(one: Reading, other: Reading, mine: Sequence[str], theirs: Sequence[str]) -> str:
    """A word or a few in others' place, or added, with no other difference that would show that all is said in other words."""
    if not (mine and theirs):
        fuller = one if mine else other
        is_circumstance = any(fuller.ways.get(root(word)) or _follows_condition(word, fuller) for word in (*mine, *theirs))
        is_more = is_circumstance or _is_in_place(one.words, other.words) or _is_one_run_longer(one.words, other.words)
        return "added_word" if is_more else ""
    is_single = len(mine) == len(theirs) == 1
    is_in_place = is_single or _is_in_place(one.words, other.words) or _is_same_frame(one.words, other.words)
    return "other_word" if is_in_place else ""


def _is_in_place(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether a few words stand where a few others stand, all before and after being the same."""
    head, tail = _around(one, other)
    return head + tail > 0 and max(len(one), len(other)) - head - tail <= IN_PLACE


def _follows_condition(word: str, reading: Reading) -> bool:
    """`if I am abroad`: what is added tells when it holds."""
    at = reading.words.index(word)
    return not _CONDITIONS.isdisjoint(reading.words[max(0, at - CONDITION) : at])


def _is_one_run_longer(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one is the other with a run of words more, but for how the question begins (`can I`, `how do I`)."""
    one, other = _without_opening(one), _without_opening(other)
    head, tail = _around(one, other)
    return head + tail == min(len(one), len(other))


def _without_opening(words: Sequence[str]) -> Sequence[str]:
    return words[next((at for at, word in enumerate(words) if word not in EMPTY), len(words)) :]


def _around(one: Sequence[str], other: Sequence[str]) -> tuple[int, int]:
    """How many words are the same before and after what differs; forms of one word are the same."""
    least = min(len(one), len(other))
    head = next((n for n in range(least) if root(one[n]) != root(other[n])), least)
    tail = next((n for n in range(least - head) if root(one[-1 - n]) != root(other[-1 - n])), least - head)
    return head, tail


def _is_same_frame(one: Sequence[str], other: Sequence[str]) -> bool:
    """Word for word the same, but for weighty words: `which cakes need eggs`, `which breads need flour`."""
    if len(one) != len(other):
        return False
    return all(a == b or (_is_weighty(a) and _is_weighty(b)) for a, b in zip(one, other, strict=True))


def _is_weighty(word: str) -> bool:
    return word not in EMPTY and word not in STOP_WORDS


def _turned_round(one: Reading, other: Reading, same: Mapping[str, str]) -> str:
    """The same weighty words: then what stands around them, and their order, must be the same or be known to say the same."""
    swaps_voice = one.is_passive != other.is_passive
    inverted = _inverted(one, other, same)
    bearing = one.bearing ^ other.bearing
    if swaps_voice:
        bearing -= {"by"}
    if all(any("to" in ways for ways in reading.ways.values()) for reading in (one, other)):
        bearing -= {"from"}  # `JSON to XML` and `from JSON to XML`
    if not _is_one_run_longer(one.words, other.words):
        bearing -= _WEAK
    found = ""
    if bearing:
        found = "direction"
    elif one.scoped != other.scoped:
        found = "order"
    elif _moods_differ(one, other):
        found = "mood"
    elif (
        inverted is None
        or _persons_change_places(one, other)
        or ("who" in one.kinds and {one.acts, other.acts} == {"subject", "object"})
    ):
        found = "order"
    elif swaps_voice and not _compares(one) and not _compares(other):
        # In `A pays B` and `B is paid by A` the two change places; in `B is paid by A` and `B pays A` they don't.
        found = "order" if not inverted and (one.by or other.by or "who" in one.kinds) else ""
    elif any(not _is_free(a, b, one, other) for a, b in inverted):
        found = "order"
    elif _is_another_form(one.words, other.words):
        found = "other_word"
    return found


def _inverted(one: Reading, other: Reading, same: Mapping[str, str]) -> list[tuple[str, str]] | None:
    """Pairs of shared weighty roots that stand in the one order here and in the other there; None: too many to say.

    Args:
        same: of a root of one, the root of other that says the same.
    """
    place = {word: at for at, word in enumerate(other.content) if not _is_placeless(word)}
    shared = [word for word in one.content if same.get(word, word) in place]
    places = [place[same.get(word, word)] for word in shared]
    if all(a < b for a, b in pairwise(places)):
        return []
    if len(shared) > ORDERED:
        return None
    return [(a, b) for (a, at), (b, behind) in combinations(zip(shared, places, strict=True), 2) if at > behind]


def _is_placeless(word: str) -> bool:
    """`What does X mean`, `the meaning of X`; `if X, what happens`; and figures, whose order is compared by itself."""
    return word in _PLACELESS or word[0].isdecimal()


def _is_free(a: str, b: str, one: Reading, other: Reading) -> bool:
    """Whether the two may change places: `to London from Paris`, `fee for a transfer` and `transfer fee`, `Python: how …`."""
    return any(_keeps_way(word, one, other) or _is_topic(word, one) or _is_topic(word, other) for word in (a, b)) or _is_compound(
        a, b, one, other
    )


def _keeps_way(word: str, one: Reading, other: Reading) -> bool:
    """The same preposition leads to it in both."""
    ways = one.ways.get(word, frozenset()) & other.ways.get(word, frozenset())
    return bool(ways - {"than", "of", "by"})


def _is_topic(word: str, reading: Reading) -> bool:
    """Put before the question: `Python, how do I …`."""
    return len(reading.words) > 1 and root(reading.words[0]) == word and reading.words[1] in _ASKS


def _is_compound(a: str, b: str, one: Reading, other: Reading) -> bool:
    """Side by side in one of them (`card limits`), and led to in the other (`limits for cards`)."""
    if _compares(one) or _compares(other):
        return False
    for joined, spread in ((one, other), (other, one)):
        roots = [root(word) if _is_weighty(word) else "" for word in joined.words]
        for first, second in ((a, b), (b, a)):
            leads = spread.ways.get(first, frozenset()) & {"of", "for", "in", "from", "with"}
            if leads and any(second in _run(roots[at + 1 : at + 4]) for at, word in enumerate(roots) if word == first):
                return True
    return False


def _run(roots: Sequence[str]) -> Sequence[str]:
    """Up to the first word that carries no meaning."""
    return roots[: roots.index("")] if "" in roots else roots


def _moods_differ(one: Reading, other: Reading) -> bool:
    """`can` is not `must`, `did` not `will`. `How do I`, `how can I` and `how should I` are one; so are `does` and `will`, and in
    what is told and not asked (`I need to …`) moods tell nothing."""
    if STATED in one.kinds or STATED in other.kinds:
        return False
    tenses = {one.tense, other.tense}
    if tenses in ({"past", "future"}, {"perfect", "future"}):
        return True
    if tenses == {"past", "present"} and "why" not in one.kinds and not (one.is_passive and "who" in one.kinds):
        return True
    differing = one.moods ^ other.moods
    if one.is_yes_or_no and other.is_yes_or_no:
        return bool(differing & {"must", "should"})
    return differing == {"must", "may"} and len(one.words) == len(other.words)


def _persons_change_places(one: Reading, other: Reading) -> bool:
    """`can you send me` and `can I send you`."""
    is_same_length = len(one.words) == len(other.words)
    return is_same_length and len(one.persons) == 2 and one.persons == other.persons[::-1]  # noqa: PLR2004


def _is_another_form(one: Sequence[str], other: Sequence[str]) -> bool:
    """Word by word the same stems, but a word that is another one: `customs` and `customer`."""
    if len(one) != len(other):
        return False
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    return any(root(a) == root(b) and _role(a) != _role(b) and not means(a, b) for a, b in pairs)


def _role(word: str) -> str:
    bare = word[:-1] if word.endswith(("ays", "eys", "oys")) else word
    return next((role for role, endings in _ROLES if bare.endswith(endings)), "")
