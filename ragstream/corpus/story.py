"""The story that the demo tells on this corpus, as data: who asks what, what changes in between, and what must show.

No I/O and no wording for the terminal. A `fact` is a piece of text that occurs in one live article only, so that an answer
either holds it or does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ragstream.corpus.history import Edit


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who asks: a name to print, and the principals to ask with."""

    name: str
    principals: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the article that answers it, and the fact that the answer must hold."""

    text: str
    doc_id: str
    fact: str


@dataclass(frozen=True, slots=True)
class Amendment:
    """An edit that makes an answer wrong: apply it to the article's text, ask again, expect the new fact."""

    doc_id: str
    edit: Edit
    old_fact: str
    new_fact: str


@dataclass(frozen=True, slots=True)
class Revocation:
    """An access change after which the caller who could read a document can't any more."""

    doc_id: str
    before: tuple[str, ...]
    after: tuple[str, ...]


CUSTOMER: Final = Caller("a customer", ("user:maya", "group:customers"))
AGENT: Final = Caller("a support agent", ("user:tom", "group:support"))

# 1. Ask, edit, ask again.
PRICE: Final = Question("How much does express card delivery cost?", "cards/card-delivery", "Express delivery costs £8")
NEW_PRICE: Final = Amendment(
    doc_id=PRICE.doc_id,
    edit=Edit(old="Express delivery costs £8, or nothing", new="Express delivery costs £9.50, or nothing"),
    old_fact=PRICE.fact,
    new_fact="Express delivery costs £9.50",
)

# 2. The same question from two callers; then the one who may read the answer may not any more.
INTERNAL: Final = Question(
    "How much goodwill credit may an agent approve without a manager?",
    "support/goodwill-credits",
    "goodwill credit of up to £40 without a manager",
)
TEAM_LEADS_ONLY: Final = Revocation(INTERNAL.doc_id, before=("group:support",), after=("group:team-leads",))

# 3. A question that one document answers, and the document is deleted.
LOUNGES: Final = Question(
    "How many free airport lounge visits do I get?", "offers/airport-lounges", "four free lounge visits in a calendar year"
)
DELETED: Final = LOUNGES.doc_id
