"""Words that may stand for one another wherever they stand, and how known a word is. Data, and the two questions asked of it.

A side of `OPPOSITES` is no set of synonyms: `child` and `pupil` are both what a `parent` or a `teacher` is not. Only what is in
one line here is taken for the same; in doubt a word is left out, and the question is answered afresh.
"""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from importlib.resources import files
from typing import Final

from query_api.answer.terms import stem
from query_api.cache.opposites import OPPOSITES

SLIP_LENGTH: Final = 5
"""Letters that a word has at least for a one-letter difference to be a slip."""

SYNONYMS: Final = """
phone telephone
mobile cellphone smartphone
ram memory
luggage baggage
flat apartment
lift elevator
petrol gasoline
assist help
insure insurance
treat treatment
prescribe prescription
subscribe subscription
drug medicine medication
doctor physician
email mail
picture photo image photograph
car automobile vehicle
holiday vacation
cost price
cost fee
fee charge
begin start commence
start launch
finish end
cancel terminate
end terminate
delete remove erase
create make
add insert
buy purchase
rent lease
repair fix mend
fix solve resolve
get obtain receive
receive gotten
require need needed required necessary
lower lowered reduce reduced decrease decreased
raise raised increase increased
required mandatory compulsory obligatory
duty obligation
allow permit
allowed permitted
forbidden prohibited
contact reach
choose select pick
show display
alter change modify
amend modify
version release
change update
difference distinction
error fault
issue problem trouble
problem difficulty
big large
largest biggest
small little
smallest tiniest
maximum max largest highest
minimum min lowest smallest
maximum maximal
minimum minimal
quick fast rapid
quickest fastest
quickly fast
cheap inexpensive
cheapest inexpensive
expensive costly
easy simple
difficult hard
possible feasible
reason cause
kind type sort
method way
step instruction
lead cause
bring cause
yearly annual annually
monthly month
weekly week
daily day
yearly year
hourly hour
percent percentage
employee staff
company firm
customer client
landlord lessor
tenant lessee
delivery shipping
deliver ship
deliver delivery
recover recovery
discover discovery
inquire inquiry enquiry enquire
renew renewal
approve approval
withdraw withdrawal
arrive arrival
depart departure
refuse refusal
deny denial
remove removal
pay payment
analyse analysis
fail failure
lose loss
die death
grow growth
know knowledge
store save keep stored saved kept
see find view show shown
stop halt
usa us america
uk britain
postgres postgresql
kubernetes k8s
login signin
id identifier
info information
app application
doc document
config configuration
admin administrator
cheque check
movie film
shop store
pupil student
lawyer attorney
purchaser buyer
vendor seller
beneficiary recipient
heart cardiac
kidney renal
liver hepatic
infant baby
kid child
teenager teen
accept take
decline reject refuse
declined rejected refused denied
lost misplaced
broken damaged
faulty defective
missing lost
verify check
verify confirm
verification confirmation
occur happen
build construct
built constructed
called named
located situated
include contain
included contained
entire whole
topup topping
eat consume
let allow
buyer purchaser
exchange swap
steal stole stolen
make made
take took taken
buy bought
send sent
lose lost
find found
give gave given
write wrote written
break broke broken
choose chose chosen
begin began begun
freeze froze frozen
forget forgot forgotten
see saw seen
speak spoke spoken
keep kept
hold held
leave left
tell told
think thought
bring brought
build built
spend spent
lend lent
rise rose risen
fall fell fallen
eat ate eaten
drink drank drunk
drive drove driven
fly flew flown
grow grew grown
know knew known
meet met
pay paid
run ran
sell sold
sleep slept
stand stood
teach taught
wear wore worn
win won
child children
man men
woman women
person people
foot feet
tooth teeth
mouse mice
expire expiry expiration
"""


def _groups() -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for group, line in enumerate(SYNONYMS.strip().splitlines()):
        for word in line.split():
            found[word].add(group)
            found[stem(word)].add(group)
    return {word: frozenset(groups) for word, groups in found.items()}


_GROUPS: Final = _groups()


def _known() -> frozenset[str]:
    """English words: the vocabulary of bert-base-uncased (Apache-2.0) that is letters only, with the words of the two tables."""
    listed = files(__package__).joinpath("english.txt").read_text(encoding="ascii").split()
    return frozenset((*listed, *OPPOSITES.replace("|", " ").split(), *SYNONYMS.split()))


_KNOWN: Final = _known()


@lru_cache(maxsize=16_384)
def means(a: str, b: str) -> bool:
    """Whether one word may stand for the other: synonyms, or one is a slip of the other's pen."""
    mine = _GROUPS.get(a) or _GROUPS.get(stem(a))
    theirs = _GROUPS.get(b) or _GROUPS.get(stem(b))
    if mine and theirs and mine & theirs:
        return True
    return min(len(a), len(b)) >= SLIP_LENGTH and a[0] == b[0] and a.isalpha() and b.isalpha() and _is_slip(a, b)


def _is_slip(a: str, b: str) -> bool:
    """One letter more, less, other, or two letters swapped, and only one of the two a word: `charges` is no slip for `changes`,
    and of two that are both unknown (`Kirche`, `Kirsche`) none can be told to be the slip."""
    if (a in _KNOWN) == (b in _KNOWN):
        return False
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    head = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[head:] == b[head + 1 :]
    return a[head + 1 :] == b[head + 1 :] or (a[head : head + 2] == b[head : head + 2][::-1] and a[head + 2 :] == b[head + 2 :])
