"""A caller: principals, and what they may do. Pure.

The operator's principal comes with the scope `operate` alone: no user, group or other claim can spell it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from query_api.identity.errors import BadCredentials
from schemas.acl import EVERYONE, MAX_ALLOW_LIST, OPERATOR, is_principal
from schemas.wire import is_index_name

ASK: Final = "ask"
OPERATE: Final = "operate"
PUBLISH: Final = "publish"
_PUBLISH_TO: Final = "publish:"


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a caller may do.

    Attributes:
        ask: ask, search, give feedback. operate: read everything, see what was withheld and the metrics; includes `ask`.
        publish_to: indexes whose documents, and whose readers, the caller may change. publishes_all: any index.
    """

    ask: bool = False
    operate: bool = False
    publishes_all: bool = False
    publish_to: frozenset[str] = frozenset()

    @classmethod
    def known(cls, names: Iterable[str]) -> Self:
        """The scopes among `names`; others are somebody else's (`openid`, `email`) and give nothing."""
        given = set(names)
        indexes = {name.removeprefix(_PUBLISH_TO) for name in given if name.startswith(_PUBLISH_TO)}
        return cls(
            ask=bool(given & {ASK, OPERATE}),
            operate=OPERATE in given,
            publishes_all=PUBLISH in given,
            publish_to=frozenset(index for index in indexes if is_index_name(index)),
        )

    def may_publish(self, index: str) -> bool:
        return self.publishes_all or index in self.publish_to


def is_scope(name: str) -> bool:
    """Whether `name` is one of ours."""
    return name in {ASK, OPERATE, PUBLISH} or (name.startswith(_PUBLISH_TO) and is_index_name(name.removeprefix(_PUBLISH_TO)))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        principals: as `QueryRequest` takes them; everyone has `*` besides.
        scopes: what they may do.
        by: how they showed it, for logs: `anonymous`, `token`, or `key:` and the key's id.
    """

    principals: tuple[str, ...]
    scopes: Scopes
    by: str

    @property
    def is_anonymous(self) -> bool:
        return not self.principals

    @property
    def name(self) -> str:
        """The one principal that feedback is given under: the user, else a group, else everyone."""
        users = [name for name in self.principals if name.startswith("user:")]
        return (users or [name for name in self.principals if name != OPERATOR] or [EVERYONE])[0]


ANONYMOUS: Final = Identity((), Scopes(ask=True), "anonymous")
"""No credentials at all; sees what is for everyone."""


def identity_of(principals: Iterable[str], scopes: Scopes, by: str) -> Identity:
    """The identity of a caller who has shown to be `principals` (users and groups).

    Raises: BadCredentials, for what is no user or group, and for more of them than an allow-list may hold.
    """
    names = sorted(set(principals) - {EVERYONE})
    wrong = [name for name in names if not is_principal(name)]
    if wrong or not names:
        msg = "unusable_principal"
        raise BadCredentials(msg, "the credentials name nobody who could be on an allow-list: user:NAME or group:NAME")
    if len(names) >= MAX_ALLOW_LIST:
        msg = "too_many_groups"
        raise BadCredentials(msg, f"the credentials hold {len(names)} users and groups; {MAX_ALLOW_LIST - 1} are taken at most")
    return Identity((*names, OPERATOR) if scopes.operate else tuple(names), scopes, by)
