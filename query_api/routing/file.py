"""The routes as an operator writes them: a YAML file, checked strictly, laid over what comes along (built-in.yaml).

docs/routing.md explains the file. Every error names the file, the line and the remedy; nothing here loads a model.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from query_api.routing.lines import InvalidYaml, Located, read_yaml
from schemas.errors import Misconfigured
from schemas.queries import MAX_INDEXES, MAX_QUESTION_LENGTH
from schemas.wire import IndexName, at_most

MAX_FILE_KIB: Final = 1024
MAX_ROUTES: Final = 64
MAX_EXAMPLES: Final = 500
MAX_TEXT: Final = 2_000
MAX_ERRORS: Final = 5
MAX_SHOWN: Final = 60
"""Characters of a value that an error quotes."""

REQUEST: Final = "request"
ALL: Final = "all"
BACKGROUND: Final = "background"
RESERVED: Final = frozenset({REQUEST, ALL, BACKGROUND})
"""Names that answers use for something else."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=48)]
Example = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION_LENGTH, pattern=r"\S")]
Examples = Annotated[tuple[Example, ...], at_most(MAX_EXAMPLES)]


class _Written(BaseModel):
    """An unknown field is a typo."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class RouteSpec(_Written):
    """One route.

    Attributes:
        description: what its indexes hold, in a sentence; works like one more example where there are indexes. Left out: what the
            settings say of each of them.
        indexes: where its questions are searched; empty: nowhere, `reply` is said.
        examples: questions as they are asked.
        reply: what is said when nothing is looked up. It must not claim knowledge: nothing stands behind it.
        min_score: in place of the setting `query.min_route_score`.
        enabled: false turns the route off.
        replace_examples: for a route that comes along: its own examples go, those here stay.
    """

    description: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    indexes: Annotated[tuple[IndexName, ...], at_most(MAX_INDEXES)] = ()
    examples: Examples = ()
    reply: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)] | None = None
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    enabled: bool = True
    replace_examples: bool = False

    @property
    def texts(self) -> tuple[str, ...]:
        """What a question is compared with. A description is too vague to keep questions from being looked up."""
        texts = (*self.examples, self.description) if self.description and self.indexes else self.examples
        return tuple(dict.fromkeys(texts))

    @property
    def looks_nothing_up(self) -> bool:
        return not self.indexes


class RoutesFile(_Written):
    """All routes by name, and the background: questions to be looked up that look like a route which looks nothing up."""

    routes: Annotated[dict[Name, RouteSpec], at_most(MAX_ROUTES)] = Field(default_factory=dict)
    background: Examples = ()

    def over(self, below: RoutesFile) -> RoutesFile:
        """These routes laid over `below`: what a route names replaces, examples are added, a background is added."""
        routes = dict(below.routes)
        for name, spec in self.routes.items():
            routes[name] = _over(spec, routes[name]) if name in routes else spec
        background = tuple(dict.fromkeys((*below.background, *self.background)))
        return below.model_copy(update={"routes": routes, "background": background})

    @property
    def in_use(self) -> Mapping[str, RouteSpec]:
        return {name: spec for name, spec in self.routes.items() if spec.enabled}


def built_in() -> RoutesFile:
    """The routes that come along."""
    text = (resources.files(__package__) / "built-in.yaml").read_text(encoding="utf-8")
    return RoutesFile.model_validate(read_yaml(text).value)


def read_routes(path: Path | None, indexes: Mapping[str, str]) -> RoutesFile:
    """The routes of an operator's file over those that come along; these alone without a file.

    Args:
        indexes: the names of all indexes there are, each with what it holds, in a sentence, or nothing.

    Raises: Misconfigured, naming file, line and remedy.
    """
    below = built_in()
    if path is None:
        return below
    located = _read(path)
    try:
        own = RoutesFile.model_validate(located.value if located.value is not None else {})
        routes = own.over(below)
    except ValidationError as exc:
        raise _wrong(
            path, [f"line {located.line(error['loc'])}: {_said(error)}" for error in exc.errors(include_url=False)]
        ) from exc
    described = routes.model_copy(update={"routes": {name: _described(spec, indexes) for name, spec in routes.routes.items()}})
    problems = [
        f"line {located.line(('routes', name, *place))}: route `{name}` {problem}"
        for name in own.routes
        for place, problem in _problems(name, described.routes[name], indexes)
    ]
    problems += _contradictions(own, routes, located)
    if problems:
        raise _wrong(path, problems)
    return described


def _over(spec: RouteSpec, below: RouteSpec) -> RouteSpec:
    given = {field: getattr(spec, field) for field in spec.model_fields_set}
    if not spec.replace_examples:
        given["examples"] = tuple(dict.fromkeys((*below.examples, *spec.examples)))
    return below.model_copy(update=given)


def _described(spec: RouteSpec, indexes: Mapping[str, str]) -> RouteSpec:
    """A route that doesn't say what its indexes hold goes by what is said of each of them."""
    if spec.description:
        return spec
    said = (indexes.get(index, "") for index in spec.indexes)
    return spec.model_copy(update={"examples": tuple(dict.fromkeys((*spec.examples, *filter(None, said))))})


def _read(path: Path) -> Located:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_KIB * 1024:
            raise _wrong(path, [f"{size // 1024} KiB; {MAX_FILE_KIB} KiB is the most. Fewer examples do as well."])
        return read_yaml(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise _wrong(path, [f"can't be read: {exc.strerror}. Name a YAML file, or unset RAG_QUERY__ROUTES_FILE"]) from exc
    except UnicodeDecodeError as exc:
        raise _wrong(path, ["is not UTF-8. Save it as UTF-8"]) from exc
    except InvalidYaml as exc:
        raise _wrong(path, [str(exc)]) from exc


def _problems(name: str, spec: RouteSpec, indexes: Collection[str]) -> list[tuple[tuple[str, ...], str]]:
    """What is wrong with one route as a whole, each with its place in it."""
    if name in RESERVED:
        return [((), f"can't have this name: {', '.join(sorted(RESERVED))} mean something else in answers. Rename it")]
    if not spec.enabled:
        return []
    found: list[tuple[tuple[str, ...], str]] = []
    unknown = sorted(set(spec.indexes) - set(indexes))
    if unknown:
        known = ", ".join(sorted(indexes))
        found.append((("indexes",), f"names {', '.join(unknown)}, and there is no such index. There are: {known}"))
    if spec.indexes and not spec.texts:
        found.append(
            ((), "has neither examples nor a description, nor have its indexes: nothing would ever take it. Add examples")
        )
    if spec.looks_nothing_up and spec.reply is None:
        found.append(((), "has no indexes, so it needs a `reply`: what to say when nothing is looked up"))
    if spec.looks_nothing_up and not spec.examples:
        found.append(((), "has no indexes, so it needs `examples`"))
    if spec.indexes and spec.reply is not None:
        found.append((("reply",), "has indexes to search, so its `reply` would never be said. Remove one of them"))
    return found


def _contradictions(own: RoutesFile, routes: RoutesFile, located: Located) -> list[str]:
    """Examples that two routes claim: neither could ever win by them."""
    owner: dict[str, str] = {}
    for name, spec in routes.in_use.items():
        for example in spec.examples:
            owner.setdefault(_folded(example), name)
    return [
        f"line {located.line(('routes', name, 'examples', position))}: route `{name}` shares the example {_short(example)!r} "
        f"with route `{owner[_folded(example)]}`. Leave it with one of them"
        for name, spec in own.in_use.items()
        for position, example in enumerate(spec.examples)
        if owner[_folded(example)] != name
    ]


def _folded(example: str) -> str:
    return " ".join(example.casefold().split())


def _said(error: Any) -> str:
    """One of pydantic's errors, with where it is and what to do."""
    place = ".".join(str(part)[:64] for part in error["loc"] if part != "[key]") or "the file"
    if error["type"] == "string_type":
        return f"{place}: must be text, and YAML reads {_short(error['input'])!r} as something else. Put it in quotes"
    if error["type"] == "model_type":
        return f"{place}: must hold fields with values, such as `indexes: [docs]`"
    if error["type"] == "extra_forbidden":
        known = RoutesFile.model_fields if len(error["loc"]) == 1 else RouteSpec.model_fields
        return f"{place}: no such field. There are: {', '.join(known)}"
    return f"{place}: {error['msg']}"


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def _wrong(path: Path, problems: list[str]) -> Misconfigured:
    more = f" (and {len(problems) - MAX_ERRORS} more)" if len(problems) > MAX_ERRORS else ""
    return Misconfigured(f"RAG_QUERY__ROUTES_FILE={path}: {'; '.join(problems[:MAX_ERRORS])}{more}")
