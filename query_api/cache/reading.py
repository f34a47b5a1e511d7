"""A question taken apart once, for wording.py to compare: figures, codes, names, negation, mood, who acts, what leads to what. Pure.

English is known; of other languages figures, codes and the words themselves. Work and memory grow with the text's length only,
and `LONGEST` bounds that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from query_api.answer.terms import STOP_WORDS, stem
from query_api.cache.opposites import OPPOSITES

# ruff: noqa: SIM905, E501  (lists of words read best as words, patterns on one line)

LONGEST: Final = 600
"""Characters of a question that is compared word by word. Few are longer, and none of those is asked twice in other words."""
REMEMBERED: Final = 2_048
"""Questions whose reading is kept."""


class Form(NamedTuple):
    """A word as a bare form with what is put before or behind it: `unlock` is `lock` with `un`, and itself with nothing."""

    word: str
    bare: str
    affix: str


class Reading(NamedTuple):
    """A question, taken apart.

    Attributes:
        content: stems of the words that carry meaning, each once, in order. weighty: those words themselves, figures left out.
        ways: of a stem, the prepositions that lead to it. bearing: function words that turn a question without being content.
        scoped: `only` with what it stands before. by: somebody acts, named with `by`. acts: `subject` (`who do I owe`), `object` (`who owes me`).
        persons: `I`, `you` and others, in the order in which they are spoken of. is_foreign: hardly a word is an English
            function word, so that of synonyms and turns nothing is known.
    """

    words: tuple[str, ...]
    numbers: tuple[str, ...]
    codes: frozenset[str]
    names: frozenset[str]
    negations: int
    sides: frozenset[tuple[int, int]]
    kinds: frozenset[str]
    content: tuple[str, ...]
    weighty: tuple[str, ...]
    forms: tuple[Form, ...]
    ways: Mapping[str, frozenset[str]]
    bearing: frozenset[str]
    scoped: frozenset[tuple[str, str]]
    moods: frozenset[str]
    tense: str
    is_yes_or_no: bool
    is_passive: bool
    by: bool
    acts: str
    persons: tuple[str, ...]
    is_foreign: bool

    @property
    def squashed(self) -> str:
        """`check-in`, `check in` and `checkin` are one."""
        return "".join(self.words).replace("-", "")


_APOSTROPHE = re.compile(r"[’‘`´ʼ]")
_NOT = re.compile(
    r"\b(ca|wo|do|does|did|is|are|was|were|has|have|had|could|would|should|must|need|might|sha|ai)n'?t\b|\bcannot\b"
)
_CLITIC = re.compile(r"(?<=\w)'(?:s|re|ve|ll|d|m)\b")
_FIGURE_WORD: Final = r"(?:\d|one\b|two\b|three\b|four\b|five\b|six\b|seven\b|eight\b|nine\b|ten\b|eleven\b|twelve\b|twenty\b|thirty\b|forty\b|fifty\b|a (?:dozen|hundred|thousand)\b)"
_COST: Final = r"(?:cost|price|fee|charge|rate|tariff)s?"
_PERIOD: Final = r"(?:day|night|week|weekend|month|quarter|year|season|semester|term|decade|century|summer|winter|spring|autumn)"


def _periodic(found: re.Match[str]) -> str:
    """`limit per week` as `weekly limit`."""
    return f"daily {found.group(1)} " if found.group(1) else f"{found.group(3)}ly {found.group(2)} "


_PHRASES: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"\b(?:do|does|did) not (?:know|understand|get why|see why)\b|\bnot (?:sure|aware|certain)\b|\bunaware\b|\bno idea\b", " wonder "),
        (r"\b(\d+(?:[:.]\d\d)?) ?([ap])\.? ?m\b\.?", r" \1 \2m "),
        (r"\b(what|where|how|who|when|why)'?s\b", r"\1 is"),
        (r"\b(what|where|how|who|when|why) exactly\b", r"\1"),
        (r"\bunable to\b", " not able to "),
        (r"\b(\w+) (?:per|each|every) day\b|\b(\w+) (?:per|each|every) (week|month|year|hour|night)\b", _periodic),
        (r"\bfail(?:s|ed|ing|ure)?\b", " not work "),
        (r"\b(?:apart|aside) from\b|\bother than\b|\bbesides\b|\bexcluding\b|\bwith the exception of\b|\bbut not\b", " except "),
        (r"\bfree of charge\b|\bfor free\b|\bat no (?:extra |additional )?(?:cost|charge)\b", " free "),
        (r"\b(?:lack|absence|shortage|deficiency|loss) of\b|\bdevoid of\b|\bfree (?:of|from)\b", " without "),
        (r"\bexactly (?=" + _FIGURE_WORD + ")", " exact "),
        (r"\b(?:about|around|roughly|approximately|nearly|almost) (?=" + _FIGURE_WORD + ")", " approx "),
        (r"\b(?:more than|over|above|in excess of|exceeding) (?=" + _FIGURE_WORD + ")", " morethan "),
        (r"\b(?:less than|fewer than|under|below) (?=" + _FIGURE_WORD + ")", " lessthan "),
        (r"\bthis (?=" + _PERIOD + r"\b)", " current "),
        (r"\blast (?=" + _PERIOD + r"\b)", " previous "),
        (r"\bfirst of all\b|\bat first\b", " "),
        (r"\bout of\b", " from "),
        (r"\b(?:pay|paid|paying|put|putting) (?:\w+ )?in(?:to)?\b", " payin "),
        (r"\b(?:tak|pull)(?:e|es|ing) (?:\w+ ){0,2}out\b|\bcash(?:ing)? out\b", " cashout "),
        (r"\b(?:turn|switch)(?:ed|ing|es)? ((?:\w+ ){0,3}?)on\b", r" enable \1 "),
        (r"\b(?:turn|switch)(?:ed|ing|es)? ((?:\w+ ){0,3}?)off\b", r" disable \1 "),
        (r"\broll(?:s|ed|ing)? ((?:\w+ ){0,3}?)back\b", r" rollback \1 "),
        (r"\b(?:log|sign)(?:ged|ned|ging|ning)?[ -]?(?:in|on)(?:to)?\b", " login "),
        (r"\b(?:log|sign)(?:ged|ned|ging|ning)?[ -]?(?:out|off)\b", " logout "),
        (r"\bsign(?:ed|ing)?[ -]?up\b", " signup "),
        (r"\bset(?:ting)?[ -]?up\b", " install "),
        (r"\bat least\b|\bno less than\b|\bno fewer than\b", " minimum "),
        (r"\bat most\b|\bno more than\b|\bup to\b", " maximum "),
        (r"\bhave to\b|\bhas to\b|\bneed(?:s)? to\b|\bhave got to\b", " must "),
        (r"\b(?:is|are|am|was|were) (going|about) to\b(?= \w)", " will "),
        (r"\b(?:is|are|am) supposed to\b|\bought to\b", " should "),
        (r"\b(?:am|is|are|be|being) ((?:\w+ ){0,3}?)(?:allowed|permitted|able|entitled) to\b", r" can \1"),
        (r"\b(?:needs|needed|requires?|required|necessary)\b", " need "),
        (r"^\W*(?:please )?(?:show|give|tell) (?:me|us) (?:(?:a|the) )?", " "),
        (r"\bhow come\b|\bwhat(?:'s| is) the reason\b|\bfor what reason\b", " why "),
        (r"\b(?:at|on|in|by) (?:what|which) (?:time|point|date|day|month|year)\b|\b(?:what|which) (?:time|date|day|year)\b", " when "),
        (r"\bin (?:which|what) (?:place|country|city|countries)\b|\b(?:which|what) (?:place|location)s?\b", " where "),
        (r"\bhow many (day|hour|week|minute|month|year)s(?= (?:\w+ ){0,8}(?:take|takes|taken|last|lasts|wait)\b)", r" how long in\1s "),
        (r"\bhow much time\b|\bhow soon\b|\bhow quickly\b", " how long "),
        (r"\bwhat(?:'s| is) the age of\b", " how old is "),
        (r"\bwhat(?:'s| is)? (?:the )?number of\b", " how many "),
        (r"\bhow many (\w+) of (\w+)\b", r" how many \2 \1 "),
        (rf"\bhow much (is|are|was|were) (?=(?:\w+ ){{1,4}}{_COST}\b)", r" how much what \1 "),
        (rf"\bwhat( is| are| was| were| will| does| did)? (?=(?:\w+ ){{0,3}}{_COST}\b)", r" how much what\1 "),
        (r"\bhow much (?:do|does|did|will|would) ((?:\w+ ){1,5}?)cost\b", r" how much what is the cost of \1 "),
        (r"\bwhat(?:'s| is) the (?:best )?(?:way|procedure|process|steps?) (?:to|of|for)\b|\bin what way\b", " how "),
        (r"\bwhat (is|was|will) (?=(?:\w+ ){0,3}(?:deadline|date)\b)", r" what when \1 "),
        (r"\b(?:by|to|for|from|with) whom\b", r" who "),
        (r"\bwhom\b", " who "),
        (r"\bversion v?(?=\d)|\bv(?=\d)|\brelease v(?=\d)", " version "),
    )
)  # fmt: skip
_CJK: Final = "㐀-鿿぀-ヿ가-힯"
_TOKEN = re.compile(
    rf"[{_CJK}]|\d+(?:[.,]\d+)*[a-z]\w*|(?<![\w.,:/-])[-−]\d+(?:[.,:/^-]\d+)*|--?[a-z][\w-]*(?![\w.])|[a-z]\w?(?:\+\+|#)|[^\W\d_{_CJK}]+(?:[_./^-][^\W_{_CJK}]+)+"
    rf"|\d+(?:[.,:/^-]\d+)*|[$€£¥₹%‰°]|[^\W\d_{_CJK}](?:[^\W_{_CJK}])*(?:'[a-z]+)?|[^\W_]"
)
_ORDINAL = re.compile(r"\b(\d+)(?:st|nd|rd|th)\b")
_MONEY_BEFORE = re.compile(r"([$€£¥₹])\s?(\d[\d.,]*\d|\d)")
_CAMEL = re.compile(r"\b(?:[a-z]+[A-Z]\w*|[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)+|\w*_\w+|[A-Z]{2,}[-_]?\d+\w*|[A-Z]+\d\w*)\b")
_FLAG = re.compile(r"(?<![\w-])--?[a-zA-Z][\w-]*")
_QUOTED = re.compile(r"`([^`]+)`|\"([^\"]+)\"")
_SHARP = re.compile(r"\b\w{1,12}(?:\+{1,2}|#)(?!\w)")
"""`C++`, `C#`, `S22+`."""
_SIZE = re.compile(r"(?<=\d)\s?((?:[kKmMgGtTpP]i?[bB]|[mM](?:[WVAJF]h?|Hz))(?:ps|it|its)?)\b")
"""Units that are others in other letters: `Mb` and `MB`, `mW` and `MW`."""
_LETTER = re.compile(r"(?<=[^\W\d] )[B-HJ-Z]\b(?![.'+#])|(?<=[a-z] )A(?= [a-z]+\b|\W*$)")
"""One capital letter by itself: `vitamin D`, `plan B`."""
_NAME = re.compile(r"(?<=[a-z,;:] )[A-Z][a-zà-ÿ]{2,}\b")
_ROMAN = re.compile(
    r"\b[IVX]{2,6}\b|\b((?i:war|type|part|chapter|phase|level|class|stage|volume|book|section|article|title|grade|tier|factor) )([IVX])\b"
)
_ROMAN_TENS: Final = ("", "X", "XX", "XXX")
_ROMAN_ONES: Final = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
_ROMANS: Final = {f"{ten}{one}": str(10 * t + o) for t, ten in enumerate(_ROMAN_TENS) for o, one in enumerate(_ROMAN_ONES)}
_BRITISH: Final = (
    (re.compile(r"(?<=[a-z]{3})our(?=s?$|ed$|ing$|able$|ful$|ite|al|hood)"), "or"),
    (re.compile(r"(?<=[a-z]{3})is(?=e$|es$|ed$|ing$|ations?$|er$)"), "iz"),
    (re.compile(r"(?<=[a-z]{3})ys(?=e$|es$|ed$|ing$)"), "yz"),
    (re.compile(r"(?<=[a-z]{2}[bt])re$"), "er"),
    (re.compile(r"(?<=[a-z]{3})ll(?=ed$|ing$|er$|ation$)"), "l"),
    (re.compile(r"(?<=[a-z]{2})ogue(?=s?$)"), "og"),
    (re.compile(r"(?<=[a-z]{3})ence$"), "ense"),
    (re.compile(r"^(an|h|p)ae"), r"\1e"),
)  # fmt: skip
_SIGNS: Final = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {sign: f"^{n}" for n, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
    | {sign: str(n) for n, sign in enumerate("₀₁₂₃₄₅₆₇₈₉")}
    | {"½": " 1/2 ", "⅓": " 1/3 ", "⅔": " 2/3 ", "¼": " 1/4 ", "¾": " 3/4 ", "⅛": " 1/8 ", "\u00a0": " ", "\u202f": " ", "\u2009": " ", "−": "-", "–": "-"}
)  # fmt: skip
"""What is written otherwise and is the same; whatever else NFKC would fold stays what it is (`10²` is not `102`)."""

_SMALL: Final = (  # fmt: skip
    "zero one two three four five six seven eight nine ten "
    "eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
NUMBERS: Final = (
    {word: str(n) for n, word in enumerate(_SMALL.split())}
    | {word: str(10 * n) for n, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
    | {"once": "1", "twice": "2", "thrice": "3", "single": "1", "double": "2", "triple": "3", "half": "0.5", "dozen": "12"}
    | {"hundred": "100", "thousand": "1000", "million": "1000000", "billion": "1000000000"}
)
_PRONOUN_ONE: Final = frozenset(
    {"which", "this", "that", "the", "another", "no", "any", "a", "new", "old", "other", "every", "each"}
)
"""Before `one`, which then is no number."""
_ONE_IS_YOU: Final = frozenset({"do", "does", "can", "should", "must", "may", "would", "could", "did", "will"})
"""Before `one` too: `how does one delete a file`."""
_TAKES_ONE: Final = frozenset(
    {"get", "need", "want", "have", "order", "buy", "make", "use", "find", "request", "replace", "this", "that", "the", "new"}
)
"""Before a last `one`, which is no number."""
_ORDINALS: Final = {
    word: f"{n}th" for n, word in enumerate("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split(), 3)
}
_UNITS: Final = {
    unit: name
    for name, units in {
        "%": "% percent percentage pct", "‰": "‰ permille", "$": "$ usd dollar dollars", "€": "€ eur euro euros", "£": "£ gbp", "¥": "¥ yen jpy", "₹": "₹ inr rupee rupees",
        "km": "km kilometre kilometer kms kilometers kilometres", "mile": "mile miles mi", "m": "metre meter metres meters",
        "kg": "kg kilo kilos kilogram kilograms", "lb": "lb lbs", "g": "gram grams", "mg": "mg milligram milligrams", "mcg": "mcg µg μg microgram micrograms",
        "kb": "kb kilobyte kilobytes", "pm": "pm",
        "mb": "mb megabyte megabytes", "gb": "gb gigabyte gigabytes", "tb": "tb terabyte terabytes",
        "ms": "ms millisecond milliseconds", "celsius": "celsius", "fahrenheit": "fahrenheit", "l": "litre liter litres liters", "ml": "ml millilitre milliliter",
    }.items()
    for unit in units.split()
}  # fmt: skip
_UNITS_BEHIND: Final = {
    unit: name
    for name, units in {
        "minute": "min mins", "second": "s sec secs", "hour": "h hr hrs", "g": "g", "m": "m", "l": "l", "k": "k", "am": "am", "v": "v volt volts",
        "w": "w watt watts", "kw": "kw", "kwh": "kwh", "a": "amp amps", "hz": "hz", "mhz": "mhz", "ghz": "ghz", "mah": "mah", "db": "db", "cm": "cm", "mm": "mm",
        "ft": "ft foot feet", "inch": "inch inches", "oz": "oz ounce ounces", "mph": "mph", "kmh": "kmh", "px": "px pixel pixels", "bit": "bit bits",
    }.items()
    for unit in units.split()
}  # fmt: skip
"""What is a unit only right after a figure."""
_UNIT_BEHIND = re.compile(
    rf"(?<=\d)(?=(?:{'|'.join(sorted((re.escape(u) for u in {*_UNITS, *_UNITS_BEHIND}), key=len, reverse=True))})(?![a-z0-9_]))"
)
"""Between a figure and its unit: `5kg` is `5 kg`, but `7a` is a name."""
_NEGATIONS: Final = frozenset(
    "not no non never none nobody nothing nowhere neither nor without unable cannot hardly barely lack lacks lacking lacked".split()
)
_KINDS: Final = (
    "how long", "how much", "how many", "how often", "how far", "how old", "how tall", "how high", "how wide", "how deep", "how big", "how large",
    "how heavy", "how fast", "how well", "how likely", "how hot", "how cold", "how late", "how early",
    "why", "when", "where", "who", "whose", "how",
)  # fmt: skip
_SAME_KIND: Final = {"how many": "how much", "how large": "how big", "how high": "how tall"}
STATED: Final = "stated"
"""The kind of what is no question."""
_ASKED: Final = re.compile(
    r"\?|^\W*(?:please |hi |hello |and |so )?(?:how|what|which|whose|who|can|could|do|does|did|is|are|was|were|will|would|should|may|must|has|have|am)\b"
)
_TOLD: Final = r"(?:tell|show|know|knows|wonder|wondering|ask|explain|say|check|idea|understand|find out|learn|see)(?: me| us| him| them)?(?: about| of)? "
_AUXILIARY: Final = r"(?:will|does|do|is|are|can|should|did|would|was|were|has|have|had|shall|must|could|may|might)"
_WHEN_ASKED: Final = re.compile(rf"\bwhen\s+{_AUXILIARY}\b|{_TOLD}when\b|\bwhen\W*$")
_WHERE_ASKED: Final = re.compile(rf"\bwhere(?:'s)? ?(?:{_AUXILIARY}|to|in|$)|{_TOLD}where\b")
_PREFIX: Final = re.compile(
    r"^(un|dis|de|in|im|ir|il|non|mis|re|over|under|pre|post|ante|anti|out|up|down|hyper|hypo|macro|micro|inter|intra|sub|super|semi|multi|mono|bi|uni|tri|poly"
    r"|counter|co|ex|homo|hetero|endo|exo|pro|en|fore|back|extra|ultra|infra|mega|kilo|giga|milli|nano|pseudo|quasi|auto|hemi|peri|trans)-?(?=\w{3})"
)
_SUFFIXES: Final = ("less", "ful", "free", "proof")
_WAYS: Final = {
    "to": "to", "into": "to", "onto": "to", "towards": "to", "toward": "to", "from": "from", "off": "from", "by": "by", "for": "for", "against": "against",
    "with": "with", "than": "than", "before": "before", "after": "after", "of": "of", "instead": "instead", "via": "via", "in": "in", "on": "in",
    "at": "in", "within": "within", "during": "during", "until": "until", "till": "until", "since": "since", "under": "under", "over": "over",
    "between": "between", "outside": "outside", "inside": "in", "about": "about", "through": "via", "using": "with",
}  # fmt: skip
EMPTY: Final = frozenset(
    "how what why when where who which is are was were do does did can could would will please help tell know want need "
    "like i me my we our you your it its this that these those there the a an of to in on at for and or with by from be been being have has had "
    "am im so just really still also any some get got go going way possible able let hi hello hey thank thanks teh during inside upon "
    "inminutes inhours indays inweeks inmonths inyears".split()
)
FRAME: Final = frozenset(
    "explain describe find see mean means meaning define definition exactly question detail details info information "
    "wonder wondering would steps step instruction instructions happen happens actually understand idea curious regarding concerning about must "
    "method procedure manner much many kindly dear sir madam team obtain entitled done doing receive receives received".split()
)
"""Words that ask but don't say what for."""
_BEARING: Final = {
    "from": "from", "by": "by", "via": "by", "with": "by", "using": "by", "against": "against", "before": "before", "after": "after", "until": "until",
    "till": "until", "since": "since", "between": "between", "outside": "outside", "beyond": "beyond", "behind": "behind",
    "under": "under", "below": "under", "beneath": "under", "over": "over", "above": "over", "out": "out", "up": "up", "down": "down", "off": "off",
    "than": "than", "instead": "instead", "versus": "versus", "other": "other", "another": "other", "same": "same", "own": "own", "new": "new",
    "more": "more", "most": "most", "much": "", "many": "", "few": "few", "both": "both", "either": "either", "neither": "neither", "if": "",
    "exact": "exact", "approx": "approx", "morethan": "morethan", "lessthan": "lessthan",
    "again": "again", "per": "per", "while": "while", "whether": "", "because": "because", "too": "", "except": "except",
}  # fmt: skip
"""Function words that make another question of the same weighty words; what is alike has one name."""
_SCOPING: Final = frozenset({"only", "solely", "exclusively", "even"})
_PAST: Final = frozenset({"did", "was", "were", "had"})
_PRESENT: Final = frozenset({"do", "does", "is", "are", "am"})
_FUTURE: Final = frozenset({"will", "shall"})
_MOODS: Final = {"must": "must", "shall": "must", "should": "should", "may": "may", "can": "may", "could": "may", "might": "may"}
_SUBJECTS: Final = frozenset({"i", "we", "he", "she", "they"})
_OBJECTS: Final = frozenset({"me", "us", "him", "them"})
_PERSONS: Final = {
    "i": "i", "me": "i", "we": "we", "us": "we", "you": "you", "he": "he", "him": "he", "she": "she", "they": "they", "them": "they",
}  # fmt: skip
_HELPING: Final = _PAST | _PRESENT | _FUTURE | _MOODS.keys()
_BE: Final = frozenset({"is", "are", "was", "were", "be", "been", "being", "am", "get", "gets", "got"})
_PARTICIPLES: Final = frozenset(
    "paid sold made sent held bought given taken written built known shown done seen found kept lent told taught read begun broken brought "
    "caught chosen cut driven drawn eaten fed felt forgotten got hit hurt laid led left lost met put run said set shut sung spent stolen "
    "struck swum thrown understood won worn bitten beaten bred drunk fought flown frozen grown heard hidden rung risen shot sunk spoken".split()
)  # fmt: skip


@lru_cache(maxsize=REMEMBERED)
def read(text: str) -> Reading:
    """Of at most `LONGEST` characters."""
    written = _APOSTROPHE.sub("'", unicodedata.normalize("NFC", text).translate(_SIGNS))
    written = _ROMAN.sub(_arabic, _decimals(written))
    folded = _folded(written)
    words = tuple(_spelt(word) for word in _TOKEN.findall(folded))
    if "how long" in folded:
        words = tuple(word for word in words if word not in {"take", "takes", "taken", "taking"})
    plain = [word for word in words if not _is_figure(word)]
    content = tuple(dict.fromkeys(root(word) for word in words if word not in EMPTY and word not in STOP_WORDS))
    held = frozenset(content)
    is_passive = _is_passive(words)
    return Reading(
        words=words,
        numbers=_numbers(words),
        codes=_codes(written),
        names=frozenset(found.casefold() for found in _NAME.findall(written)) - EMPTY,
        negations=sum(word in _NEGATIONS for word in words),
        sides=frozenset(side for word in plain for side in sides(word)),
        kinds=_kinds(folded),
        content=content,
        weighty=tuple(
            word for word in dict.fromkeys(words) if root(word) in held and not _is_number(word) and word not in _UNITS
        ),
        forms=tuple(form for word in dict.fromkeys(plain) for form in _forms(word)),
        ways=_ways(words),
        bearing=frozenset(_bearing(words)),
        scoped=frozenset(_scoped(words, held)),
        moods=frozenset(_MOODS[word] for word in words if word in _MOODS),
        tense=_tense(words),
        is_yes_or_no=bool(words)
        and (words[0] in _PAST | _PRESENT | _FUTURE or words[0] in _MOODS or words[0] in {"has", "have"}),
        is_passive=is_passive,
        acts=_acts(words),
        persons=tuple(dict.fromkeys(_PERSONS[word] for word in words if word in _PERSONS)),
        by=is_passive and ("by" in words or bool(re.search(r"\bby whom\b", text.casefold()))),
        is_foreign=_is_foreign(words),
    )


def facts(text: str) -> tuple[tuple[str, ...], int]:
    """Figures with their units, and whether the text denies: 0 or 1. For texts of any length; takes time in proportion."""
    written = _APOSTROPHE.sub("'", unicodedata.normalize("NFC", text).translate(_SIGNS))
    words = tuple(_TOKEN.findall(_folded(_decimals(written))))
    return _numbers(words), sum(word in _NEGATIONS for word in words) % 2


def root(word: str) -> str:
    """The stem; `mondays` has that of `monday`, and `covered` that of `cover`."""
    if word.endswith(("ays", "eys", "oys")):
        return stem(word[:-1])
    if word.endswith(("ered", "ering")):
        return stem(word.removesuffix("ed").removesuffix("ing"))
    return stem(word)


def sides(word: str) -> frozenset[tuple[int, int]]:
    """Where a word stands among opposites, as it is written or reduced; a stem never overrules the word itself."""
    return _SIDES.get(word) or _SIDES.get(root(word)) or frozenset()


def _folded(written: str) -> str:
    """In small letters, without apostrophes, what is said in several words said in one."""
    folded = _NOT.sub(lambda m: f"{_verb(m.group(1))} not", written.casefold())
    folded = _UNIT_BEHIND.sub(" ", _ORDINAL.sub(r"\1-th", _MONEY_BEFORE.sub(r"\2 \1", folded)))
    folded = " ".join(folded.split())
    for phrase, put in _PHRASES:
        folded = phrase.sub(put, folded)
    return " ".join(_CLITIC.sub("", folded).split())


def _verb(auxiliary: str | None) -> str:
    return {"ca": "can", "wo": "will", "sha": "shall", None: "can", "ai": "is"}.get(auxiliary, auxiliary or "can")


def _decimals(written: str) -> str:
    """Figures of other scripts in ours."""
    if written.isascii():
        return written
    return "".join(str(unicodedata.decimal(one)) if not one.isascii() and one.isdecimal() else one for one in written)


def _arabic(found: re.Match[str]) -> str:
    """`II` as `2`; one letter by itself only after what is numbered so."""
    before, single = found.group(1) or "", found.group(2) or found.group()
    return before + _ROMANS.get(single, single)


@lru_cache(maxsize=16_384)
def _spelt(word: str) -> str:
    """`colour` as `color`: one spelling for both sides of the Atlantic, whichever of the two is right. `e-mail` as `email`."""
    if len(word) > 2 and word[1] == "-" and word[0] == "e":  # noqa: PLR2004
        word = word[0] + word[2:]
    if not word.isalpha() or not word.isascii() or word in _KEPT:
        return word
    for pattern, put in _BRITISH:
        word = pattern.sub(put, word)
    return word


_KEPT: Final = frozenset({"hence", "fence", "pence", "precise", "otherwise", "exercise", "rise", "raise", "called", "calling", "caller", "selling", "seller", "billed", "billing", "rolled", "rolling", "filled", "filling", "killed", "killing", "before", "there", "where", "these", "entire", "require"})  # fmt: skip


def _is_figure(word: str) -> bool:
    return word[0].isdecimal() or (word[0] in "-−" and word[1:2].isdecimal())


def _is_number(word: str) -> bool:
    return _is_figure(word) or word in NUMBERS


def _codes(written: str) -> frozenset[str]:
    """What is written to be taken literally: flags, identifiers, quoted or in code; units that hang on their case."""
    quoted = {part for pair in _QUOTED.findall(written) for part in pair if part}
    found = {*_CAMEL.findall(written), *_FLAG.findall(written), *_SHARP.findall(written), *_SIZE.findall(written), *quoted}
    if not written.isupper():
        found.update(_LETTER.findall(written))
    return frozenset(code.strip("-") if code.startswith("--") else code for code in found)


def _numbers(words: tuple[str, ...]) -> tuple[str, ...]:
    """Every figure with its unit, in order; words for numbers count."""
    found: list[str] = []
    for place, word in enumerate(words):
        before = words[place - 1] if place else ""
        if _is_figure(word):
            found.append(_figure(word))
        elif before and _is_figure(before) and word in _UNITS_BEHIND:
            found.append(_UNITS_BEHIND[word])
        elif word in _ORDINALS:
            found.append(_ORDINALS[word])
        elif word in NUMBERS and not _is_no_number(words, place):
            found.append(NUMBERS[word])
        elif word in _UNITS:
            found.append(_UNITS[word])
    return tuple(found)


def _is_no_number(words: tuple[str, ...], place: int) -> bool:
    """`the other one`, `how does one`, `one of the cards`; `single` and `double` are opposites instead."""
    word, before = words[place], words[place - 1] if place else ""
    if word in {"single", "double", "half", "triple"}:
        return True
    following = words[place + 1] if place + 1 < len(words) else ""
    if word == "one" and not following:
        return before in _TAKES_ONE
    return word == "one" and (before in _PRONOUN_ONE or before in _ONE_IS_YOU or following in {"of", "i", "that", "and"})


def _figure(word: str) -> str:
    """`1,000` is `1000`; `2.30` is not `2.3`."""
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", word)


def _kinds(folded: str) -> frozenset[str]:
    """What is asked for. `how` as such says little: `how do I` and `can I` are answered alike."""
    text = f" {re.sub(r'[^a-z]+', ' ', folded)} "
    found: set[str] = set()
    for kind in _KINDS:
        if f" {kind} " in text:
            found.add(_SAME_KIND.get(kind, kind))
            text = text.replace(f" {kind} ", " ")
    # `when I pay, why …` is a condition, not a question.
    if "when" in found and not _WHEN_ASKED.search(folded):
        found.discard("when")
    if "where" in found and not _WHERE_ASKED.search(folded):
        found.discard("where")
    if (
        "who" in found
        and re.search(r"\w+ who\b", folded)
        and not re.search(rf"^\W*who\b|{_TOLD}who\b|\bwho {_AUXILIARY}\b", folded)
    ):
        found.discard("who")
    found.discard("how")
    if not found and not _ASKED.search(folded):
        found.add(STATED)
    return frozenset(found)


def _forms(word: str) -> Iterable[Form]:
    yield Form(word, root(word), "")
    match = _PREFIX.match(word)
    if match is not None:
        yield Form(word, root(word[match.end() :]), match.group(1))
    for ending in _SUFFIXES:
        if word.endswith(ending) and len(word) - len(ending) > 2:  # noqa: PLR2004
            yield Form(word, root(word.removesuffix(ending).rstrip("-")), ending)


def _ways(words: tuple[str, ...]) -> Mapping[str, frozenset[str]]:
    """Which prepositions lead to which weighty words: those that follow side by side, `for disposable cards`."""
    found: dict[str, set[str]] = {}
    for place, word in enumerate(words):
        way = _WAYS.get(word)
        if way is None:
            continue
        has_led = False
        for following in words[place + 1 : place + 6]:
            if following in _WAYS or (has_led and (following in EMPTY or following in STOP_WORDS)):
                break
            if following not in EMPTY:
                found.setdefault(root(following), set()).add(way)
                has_led = True
    return {word: frozenset(ways) for word, ways in found.items()}


def _bearing(words: tuple[str, ...]) -> Iterable[str]:
    for place, word in enumerate(words):
        if name := _BEARING.get(word):
            yield name
        elif word == "need" and _is_asked_for(words, place):
            yield word


def _is_asked_for(words: tuple[str, ...], place: int) -> bool:
    """`do I need a visa` is not `do I have a visa`; but `I need a visa, how …` only tells, and what `needs setting` is told too."""
    told = place > 0 and words[place - 1] in _SUBJECTS and (place == 1 or words[place - 2] not in _HELPING)
    return not told and not any(word.endswith("ing") for word in words[place + 1 : place + 2])


def _scoped(words: tuple[str, ...], content: frozenset[str]) -> Iterable[tuple[str, str]]:
    for place, word in enumerate(words):
        if word in _SCOPING:
            yield word, next((root(one) for one in words[place + 1 : place + 8] if root(one) in content), "")


def _acts(words: tuple[str, ...]) -> str:
    subject, object_ = not _SUBJECTS.isdisjoint(words), not _OBJECTS.isdisjoint(words)
    return "" if subject == object_ else "subject" if subject else "object"


def _tense(words: tuple[str, ...]) -> str:
    for place, word in enumerate(words):
        if word in _PAST:
            return "past"
        if word in _PRESENT:
            return "present"
        if word in _FUTURE:
            return "future"
        if word in {"has", "have"} and (not place or words[place - 1] in EMPTY):
            return "perfect"
    return ""


def _is_passive(words: tuple[str, ...]) -> bool:
    """A form of `be` and, within four words, a participle."""
    since = 9
    for word in words:
        if word in _BE:
            since = 0
        elif since < 5 and (word in _PARTICIPLES or (word.endswith("ed") and len(word) > 4)):  # noqa: PLR2004
            return True
        else:
            since += 1
    return False


def _is_foreign(words: tuple[str, ...]) -> bool:
    known = sum(word in EMPTY or word in STOP_WORDS or word in FRAME for word in words)
    return 4 * known < len(words) or any(not word.isascii() and word.isalpha() and word[0] > "ʯ" for word in words)


def _table() -> dict[str, frozenset[tuple[int, int]]]:
    """A stem that is a word of its own right (`https`, `http`) is left to that word."""
    exact: dict[str, set[tuple[int, int]]] = {}
    for group, line in enumerate(OPPOSITES.strip().splitlines()):
        for side, words in enumerate(line.split("|")):
            for word in words.split():
                exact.setdefault(_spelt(word), set()).add((group, side))
    found = {word: set(sides) for word, sides in exact.items()}
    for word, sides in exact.items():
        if root(word) not in exact and root(word) not in EMPTY:
            found.setdefault(root(word), set()).update(sides)
    return {word: frozenset(sides) for word, sides in found.items()}


_SIDES: Final = _table()
