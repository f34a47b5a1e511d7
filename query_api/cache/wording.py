"""Whether two questions say the same as far as words tell: what embeddings don't see. Pure.

Embeddings put `upgrade from 2.3` and `downgrade to 2.4` at 0.98, and both are answered from the same passages. So whatever can turn
a question around is compared word by word: numbers, codes and names, negation, opposites, directions, who is compared with whom,
what kind of thing is asked, and one word put in another's place. English is known; in other languages numbers, codes and
names are compared all the same. Prefers to find a difference that is none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, NamedTuple

from query_api.answer.terms import STOP_WORDS, stem
from query_api.cache.opposites import OPPOSITES

# ruff: noqa: SIM905, E501  (lists of words read best as words, patterns on one line)

REMEMBERED: Final = 4_096
"""Questions whose reading is kept."""


IN_PLACE: Final = 3
"""Words that are replaced as one."""
SLIP_LENGTH: Final = 5
"""Letters that a word has at least for a one-letter difference to be a slip."""


class _Reading(NamedTuple):
    """A question, taken apart once."""

    words: tuple[str, ...]
    numbers: tuple[str, ...]
    codes: frozenset[str]
    names: frozenset[str]
    negations: int
    sides: frozenset[tuple[int, int]]
    kinds: frozenset[str]
    content: tuple[str, ...]
    directions: frozenset[tuple[str, str]]


_APOSTROPHE = re.compile(r"[’‘`´]")
_NOT = re.compile(
    r"\b(ca|wo|do|does|did|is|are|was|were|has|have|had|could|would|should|must|need|might|sha|ai)n'?t\b|\bcannot\b"
)
_CLITIC = re.compile(r"(?<=\w)'(?:s|re|ve|ll|d|m)\b")
_PHRASES: Final = (
    (
        re.compile(
            r"\b(?:do|does|did) not (?:know|understand|get why|see why)\b|\bnot (?:sure|aware|certain)\b|\bunaware\b|\bno idea\b"
        ),
        " wonder ",
    ),
    (re.compile(r"\bfail(?:s|ed|ing|ure)?\b"), " not work "),
    (re.compile(r"\b(?:pay|paid|paying|put|putting) (?:\w+ )?in(?:to)?\b"), " payin "),
    (re.compile(r"\b(?:tak|pull)(?:e|es|ing) (?:\w+ ){0,2}out\b|\bcash(?:ing)? out\b"), " cashout "),
    (re.compile(r"\b(?:turn|switch)(?:ed|ing|es)? ((?:\w+ ){0,3}?)on\b"), r" enable \1 "),
    (re.compile(r"\b(?:turn|switch)(?:ed|ing|es)? ((?:\w+ ){0,3}?)off\b"), r" disable \1 "),
    (re.compile(r"\broll(?:s|ed|ing)? ((?:\w+ ){0,3}?)back\b"), r" rollback \1 "),
    (re.compile(r"\b(?:log|sign)(?:ged|ned|ging|ning)?[ -]?(?:in|on)(?:to)?\b"), " login "),
    (re.compile(r"\b(?:log|sign)(?:ged|ned|ging|ning)?[ -]?(?:out|off)\b"), " logout "),
    (re.compile(r"\bsign(?:ed|ing)?[ -]?up\b"), " signup "),
    (re.compile(r"\bset(?:ting)?[ -]?up\b"), " install "),
    (re.compile(r"\bat least\b|\bno less than\b"), " minimum "),
    (re.compile(r"\bat most\b|\bno more than\b|\bup to\b"), " maximum "),
    (re.compile(r"\bhave to\b|\bhas to\b|\bneed(?:s)? to\b"), " must "),
    (re.compile(r"\b(?:am|is|are|be|being) (?:allowed|permitted|able) to\b"), " can "),
    (re.compile(r"\bhow come\b|\bwhat(?:'s| is) the reason\b|\bfor what reason\b"), " why "),
    (re.compile(r"\bat what (?:time|point)\b|\bwhat time\b|\bon what date\b|\bwhat date\b|\bwhich day\b|\bwhat day\b"), " when "),
    (re.compile(r"\bin (?:which|what) (?:place|country|city|countries)\b|\b(?:which|what) (?:place|location)s?\b"), " where "),
    (re.compile(r"\bhow many days\b|\bhow much time\b|\bhow many hours\b|\bhow soon\b|\bhow quickly\b"), " how long "),
    (re.compile(r"\bwhat(?:'s| is| are)? (?:the )?(?:cost|price|fee|charge)s?\b|\bwhat does it cost\b"), " how much "),
    (re.compile(r"\bwhat(?:'s| is) the (?:way|procedure|process|steps?) (?:to|of|for)\b|\bin what way\b"), " how "),
)
_TOKEN = re.compile(
    r"--?[a-z][\w-]*(?![\w.])|[^\W\d_]+(?:[_./-][^\W_]+)+|\d+(?:[.,:/-]\d+)*[a-z%]*|[$€£¥%]|[^\W_]+(?:'[a-z]+)?|[㐀-鿿぀-ヿ가-힯]"
)
_CAMEL = re.compile(r"\b(?:[a-z]+[A-Z]\w*|[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+|\w*_\w+|[A-Z]{2,}[-_]?\d+\w*|[A-Z]+\d\w*)\b")
_FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
_QUOTED = re.compile(r"`([^`]+)`|\"([^\"]+)\"")
_ACRONYM = re.compile(r"\b[A-Z]{2,6}\b")
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-zà-ÿ]{2,}\b")

_SMALL: Final = (  # fmt: skip
    "zero one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_NUMBERS: Final = (
    {word: str(n) for n, word in enumerate(_SMALL.split())}
    | {word: str(10 * n) for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
    | {"once": "1", "twice": "2", "thrice": "3", "single": "1", "double": "2", "triple": "3", "half": "0.5", "dozen": "12"}
    | {"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"}
)
_PRONOUN_ONE: Final = frozenset(
    {"which", "this", "that", "the", "another", "no", "any", "a", "new", "old", "other", "every", "each"}
)
"""Before `one`, which then is no number."""
_ORDINALS: Final = {
    word: f"{n}th" for n, word in enumerate("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), 3)
}
_UNITS: Final = {
    unit: name
    for name, units in {
        "%": "% percent pct", "$": "$", "€": "€", "£": "£", "¥": "¥",
        "km": "km kilometre kilometer kms", "mile": "mile miles mi", "m": "metre meter metres meters",
        "kg": "kg kilo kilos kilogram kilograms", "lb": "lb lbs", "g": "gram grams", "mg": "mg milligram milligrams",
        "kb": "kb kilobyte kilobytes",
        "mb": "mb megabyte megabytes", "gb": "gb gigabyte gigabytes", "tb": "tb terabyte terabytes",

        "ms": "ms millisecond milliseconds", "celsius": "celsius", "fahrenheit": "fahrenheit", "l": "litre liter litres liters",
    }.items()
    for unit in units.split()
}  # fmt: skip
_NEGATIONS: Final = frozenset(
    "not no non never none nobody nothing nowhere neither nor without unable cannot hardly barely".split()
)
_RESTRICTING: Final = frozenset("only solely exclusively except unless alone".split())
"""What one question says and the other doesn't, they differ by."""
_KINDS: Final = ("how long", "how much", "how many", "how often", "how far", "how old", "why", "when", "where", "who", "how")
_SAME_KIND: Final = {"how many": "how much"}
STATED: Final = "stated"
"""The kind of what is no question."""
_ASKED: Final = re.compile(
    r"\?|^\W*(?:please |hi |hello |and |so )?(?:how|what|which|whose|can|could|do|does|did|is|are|was|were|will|would|should|may|must|has|have|am)\b"
)
_PREFIX: Final = re.compile(r"^(un|dis|de|in|im|ir|il|non|mis|re|over|under|pre|post|anti|out|up|down)-?(?=\w{3})")
_SUFFIXES: Final = (("less", "ful"), ("less", ""), ("free", ""))
_COMPARES: Final = re.compile(
    r"\b(than|versus|vs|rather|instead|compared|over|prefer|replace|replaced|before|after|until|depend|depends)\b"
)
_DIRECTIONS: Final = {
    "to": "to", "into": "to", "onto": "to", "towards": "to", "from": "from", "off": "from", "by": "by", "for": "for",
    "with": "with", "than": "than", "before": "before", "after": "after", "of": "of", "instead": "instead", "via": "via",
}  # fmt: skip
_EMPTY: Final = frozenset(
    "how what why when where who which is are was were do does did can could would should will please help tell know want need "
    "like i me my we our you your it its this that there the a an of to in on at for and or with by from be been being have has had "
    "am im so just really still also any some get got go going way possible able let hi hello hey thank thanks".split()
)


def conflict_between(a: str, b: str) -> str:
    """A code of what contradicts: `number`, `code`, `name`, `negation`, `opposite`, `prefix`, `order`, `direction`, `kind`,
    `other_word`, `added_word`; empty: nothing does. Symmetric."""
    return _conflict(_read(a), _read(b))


def _conflict(one: _Reading, other: _Reading) -> str:
    found = ""
    if one.numbers != other.numbers:
        found = "number"
    elif one.codes != other.codes:
        found = "code"
    elif one.negations % 2 != other.negations % 2:
        found = "negation"
    elif _opposed(one.sides, other.sides):
        found = "opposite"
    elif _turned_by_affix(one, other):
        found = "prefix"
    elif _kinds_differ(one.kinds, other.kinds):
        found = "kind"
    elif _names_differ(one, other):
        found = "name"
    elif _is_reordered(one, other):
        found = "order"
    elif _points_elsewhere(one.directions, other.directions):
        found = "direction"
    else:
        found = _replaced(one, other)
    return found


def _opposed(one: frozenset[tuple[int, int]], other: frozenset[tuple[int, int]]) -> bool:
    """Whether a set of opposites has one side only here and another only there."""
    groups = {group for group, _ in one} & {group for group, _ in other}
    for group in groups:
        mine = {side for g, side in one if g == group}
        theirs = {side for g, side in other if g == group}
        if mine != theirs and (mine - theirs) and (theirs - mine):
            return True
    return False


def _turned_by_affix(one: _Reading, other: _Reading) -> bool:
    """`lock` here and `unlock` there, `taxable` and `non-taxable`, `harmful` and `harmless`, `prepaid` and `postpaid`."""
    only_one = set(one.words) - set(other.words)
    only_other = set(other.words) - set(one.words)
    return any(_is_turned(a, b) or _is_turned(b, a) for a in only_one for b in only_other)


@lru_cache(maxsize=65_536)
def _is_turned(a: str, b: str) -> bool:
    match = _PREFIX.match(a)
    if match is not None:
        bare = stem(a[match.end() :])
        its = _PREFIX.match(b)
        turned = b[its.end() :] if its is not None else b
        if bare == stem(b) or (its is not None and its.group(1) != match.group(1) and bare == stem(turned)):
            return True
    for ending, opposite in _SUFFIXES:
        if a.endswith(ending) and len(a) - len(ending) > 2:  # noqa: PLR2004
            base = a.removesuffix(ending).rstrip("-")
            if b in {base + opposite, base} or stem(b) == stem(base):
                return True
    return False


def _kinds_differ(one: frozenset[str], other: frozenset[str]) -> bool:
    """`why` is not `when` and not `how`; what is told and not asked (`my card is blocked`) may be about any of them."""
    if STATED in one or STATED in other:
        return False
    return one != other


def _names_differ(one: _Reading, other: _Reading) -> bool:
    """A name in mid-sentence that the other doesn't hold, however it is written."""
    mine, theirs = {stem(word) for word in one.words}, {stem(word) for word in other.words}
    return any(stem(name) not in theirs for name in one.names) or any(stem(name) not in mine for name in other.names)


def _is_reordered(one: _Reading, other: _Reading) -> bool:
    """The same weighty words in another order, where order tells: `X before Y`, `X faster than Y`, `A to B`."""
    shared = set(one.content) & set(other.content)
    mine = [word for word in one.content if word in shared]
    theirs = [word for word in other.content if word in shared]
    if mine == theirs or len(shared) < 2:  # noqa: PLR2004
        return False
    # The very same words, moved: nothing is said in other words, so the moving is the difference.
    if sorted(one.words) == sorted(other.words):
        return True
    return any(_COMPARES.search(" ".join(reading.words)) for reading in (one, other))


def _points_elsewhere(one: frozenset[tuple[str, str]], other: frozenset[tuple[str, str]]) -> bool:
    """`from the card` here and `to the card` there."""
    mine = {word: {p for p, w in one if w == word} for _, word in one}
    theirs = {word: {p for p, w in other if w == word} for _, word in other}
    pairs = (("to", "from"), ("for", "from"), ("by", "to"), ("by", "for"), ("before", "after"), ("to", "of"))
    for word in mine.keys() & theirs.keys():
        for a, b in pairs:
            if (a in mine[word] and b in theirs[word] and a not in theirs[word]) or (
                b in mine[word] and a in theirs[word] and b not in theirs[word]
            ):
                return True
    return False


def _replaced(one: _Reading, other: _Reading) -> str:
    """One weighty word in another's place, all others being the same: unless the two are known to mean the same or one is a slip."""
    if (set(one.words) ^ set(other.words)) & _RESTRICTING:
        return "added_word"
    mine, theirs = _missing(one, other), _missing(other, one)
    if not mine and not theirs:
        return ""
    is_single = len(mine) == len(theirs) == 1 and len(one.content) > 1
    if mine and theirs and (is_single or _is_in_place(one.words, other.words)):
        return "" if len(mine) == len(theirs) and all(map(_means, mine, theirs)) else "other_word"
    if abs(len(mine) - len(theirs)) == 1 and not (mine and theirs) and _is_one_inserted(one.words, other.words):
        return "added_word"
    return ""


def _missing(one: _Reading, other: _Reading) -> list[str]:
    """Weighty words of one, figures left out, that the other doesn't hold in any form."""
    theirs = set(other.content)
    weighty = (word for word in dict.fromkeys(one.words) if stem(word) in one.content and stem(word) not in theirs)
    return [word for word in weighty if not word[0].isdigit() and word not in _NUMBERS]


def _is_in_place(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether a few words stand where a few others stand, all before and after being the same."""
    least = min(len(one), len(other))
    head = next((n for n in range(least) if one[n] != other[n]), least)
    tail = next((n for n in range(least - head) if one[-1 - n] != other[-1 - n]), least - head)
    return head + tail > 0 and max(len(one), len(other)) - head - tail <= IN_PLACE


def _is_one_inserted(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether the longer question is the shorter one with one word more, nothing else changed."""
    short, long = sorted((one, other), key=len)
    return len(long) == len(short) + 1 and any(long[:place] + long[place + 1 :] == short for place in range(len(long)))


@lru_cache(maxsize=65_536)
def _means(a: str, b: str) -> bool:
    """Whether two words stand on the same side of a pair of opposites, or one is a slip of the other's pen."""
    if _sides(a) & _sides(b):
        return True
    length = min(len(a), len(b))
    return length >= SLIP_LENGTH and a[0] == b[0] and a.isalpha() and b.isalpha() and _is_slip(a, b)


def _is_slip(a: str, b: str) -> bool:
    """One letter more, less, other, or two letters swapped."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    head = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[head:] == b[head + 1 :]
    return a[head + 1 :] == b[head + 1 :] or (a[head : head + 2] == b[head : head + 2][::-1] and a[head + 2 :] == b[head + 2 :])


@lru_cache(maxsize=REMEMBERED)
def _read(text: str) -> _Reading:
    written = _APOSTROPHE.sub("'", unicodedata.normalize("NFKC", text))
    codes = _codes(written)
    names = frozenset(found.casefold() for found in _NAME.findall(written)) - _EMPTY
    folded = _NOT.sub(lambda m: f"{_verb(m.group(1))} not", written.casefold())
    for phrase, word in _PHRASES:
        folded = phrase.sub(word, folded)
    words = tuple(_CLITIC.sub("", folded) and _TOKEN.findall(_CLITIC.sub("", folded)))
    plain = [word for word in words if not word[0].isdigit()]
    return _Reading(
        words=words,
        numbers=_numbers(words),
        codes=codes,
        names=names,
        negations=sum(word in _NEGATIONS for word in words),
        sides=frozenset(side for word in plain for side in _sides(word)),
        kinds=_kinds(folded),
        content=tuple(dict.fromkeys(stem(word) for word in words if word not in _EMPTY and word not in STOP_WORDS)),
        directions=frozenset(_directions(words)),
    )


def _verb(auxiliary: str | None) -> str:
    return {"ca": "can", "wo": "will", "sha": "shall", None: "can", "ai": "is"}.get(auxiliary, auxiliary or "can")


def _codes(written: str) -> frozenset[str]:
    """What is written to be taken literally: flags, identifiers, quoted or in code; acronyms unless all is in capitals."""
    quoted = {part for pair in _QUOTED.findall(written) for part in pair if part}
    found = {*_CAMEL.findall(written), *(flag for flag in _FLAG.findall(written)), *quoted}
    return frozenset(code.strip("-") if code.startswith("-") else code for code in found)


def _numbers(words: tuple[str, ...]) -> tuple[str, ...]:
    """Every figure with its unit, in order; words for numbers count."""
    found: list[str] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if word[0].isdigit():
            found.append(_figure(word))
        elif word in _ORDINALS:
            found.append(_ORDINALS[word])
        elif word in _NUMBERS and not (word in {"one", "single", "double", "half"} and (word != "one" or before in _PRONOUN_ONE)):
            if word == "one" and place + 1 < len(words) and words[place + 1] in {"of", "i", "that", "and"}:
                continue
            found.append(_NUMBERS[word])
        elif word in _UNITS:
            found.append(_UNITS[word])
    return tuple(found)


def _figure(word: str) -> str:
    """`1,000` is `1000`; `10kg` keeps its unit; `2.30` is not `2.3`."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", word)


def _kinds(folded: str) -> frozenset[str]:
    """What is asked for. `how` as such says little: `how do I` and `can I` are answered alike."""
    text = f" {re.sub(r'[^a-z]+', ' ', folded)} "
    found: set[str] = set()
    for kind in _KINDS:
        if f" {kind} " in text:
            found.add(_SAME_KIND.get(kind, kind))
            text = text.replace(f" {kind} ", " ")
    if " when " in f" {text} " or "when" in found:
        # `when I pay, why …` is a condition, not a question.
        is_asked = re.search(
            r"\bwhen\s+(?:will|does|do|is|are|can|should|did|would|was|were|has|have|shall|must|could)\b", folded
        )
        if not is_asked:
            found.discard("when")
    if "where" in found and not re.search(
        r"\bwhere(?:'s)? ?(?:will|does|do|is|are|can|should|did|would|was|were|has|have|could|to|in|$)", folded
    ):
        found.discard("where")
    if "who" in found and re.search(r"\w+ who\b", folded) and not folded.lstrip().startswith("who"):
        found.discard("who")
    found.discard("how")
    if not found and not _ASKED.search(folded):
        found.add(STATED)
    return frozenset(found)


def _directions(words: tuple[str, ...]) -> Iterable[tuple[str, str]]:
    """Which preposition leads to which weighty word."""
    for place, word in enumerate(words):
        way = _DIRECTIONS.get(word)
        if way is None:
            continue
        for following in words[place + 1 : place + 5]:
            if following in _DIRECTIONS:
                break
            if following not in _EMPTY:
                yield way, stem(following)
                break


def _table() -> dict[str, frozenset[tuple[int, int]]]:
    """A stem that is a word of its own right (`https`, `http`) is left to that word."""
    exact: dict[str, set[tuple[int, int]]] = {}
    for group, line in enumerate(OPPOSITES.strip().splitlines()):
        for side, words in enumerate(line.split("|")):
            for word in words.split():
                exact.setdefault(word, set()).add((group, side))
    found = {word: set(sides) for word, sides in exact.items()}
    for word, sides in exact.items():
        if stem(word) not in exact:
            found.setdefault(stem(word), set()).update(sides)
    return {word: frozenset(sides) for word, sides in found.items()}


_SIDES: Final = _table()


def _sides(word: str) -> frozenset[tuple[int, int]]:
    """Where a word stands among opposites, as it is written or reduced; a stem never overrules the word itself."""
    return _SIDES.get(word) or _SIDES.get(stem(word)) or frozenset()
