"""The settings as people see them: every variable with its type, default and value, secrets masked. No I/O."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import orjson
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from schemas.settings import IndexSettings, Settings
from schemas.wire import DEFAULT_INDEX

PREFIX: Final = "RAG_"
NESTED: Final = "__"
FOR_TESTS: Final = "RAG_TEST_"
INDEXES: Final = "RAG_INDEXES"
MASK: Final = "**********"
INDEX_PLACEHOLDER: Final = "<name>"

_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)([^/@\s]*):([^/@\s]*)@")


class Variable(NamedTuple):
    """One setting.

    Attributes:
        name: of its environment variable.
        path: where it stands in the tree.
        section: what its branch is about, a sentence.
        kind: what may be given. default: as it would be given; empty for none.
        is_secret: never shown.
    """

    name: str
    path: tuple[str, ...]
    section: str
    kind: str
    default: str
    description: str
    is_secret: bool


class Value(NamedTuple):
    """A setting with what it is set to; `shown` is safe to print."""

    variable: Variable
    shown: str
    is_default: bool


def variables() -> list[Variable]:
    """Every setting, in the order of the tree. Those of one index come last, under `RAG_INDEXES__<name>__`."""
    found = list(_variables(Settings, ()))
    return [*found, *_variables(IndexSettings, ("indexes", INDEX_PLACEHOLDER))]


def values(settings: Settings) -> list[Value]:
    """Every setting's value; an index's under its own name."""
    found: list[Value] = []
    for variable in variables():
        if INDEX_PLACEHOLDER not in variable.path:
            found.append(_value(variable, _at(settings, variable.path)))
            continue
        for name, index in settings.indexes.items():
            path = tuple(name if part == INDEX_PLACEHOLDER else part for part in variable.path)
            own = variable._replace(path=path, name=_name(path))
            found.append(_value(own, getattr(index, path[-1])))
    return found


def json_of_indexes(settings: Settings) -> Value | None:
    """The indexes that no shell's variable can name, or none of whose variables is set, in the one variable that can hold them.
    None where there are no such indexes."""
    named = {
        name: index
        for name, index in settings.indexes.items()
        if "-" in name or (index == IndexSettings() and name != DEFAULT_INDEX)
    }
    if not named:
        return None
    fields = {name: index.model_dump(mode="json", exclude_defaults=True) for name, index in named.items()}
    variable = Variable(INDEXES, ("indexes",), _first_line(IndexSettings.__doc__), "JSON object", "", "", is_secret=False)
    return Value(variable, orjson.dumps(fields).decode(), is_default=False)


def unknown_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """RAG_ variables that no setting knows, each with the name that was probably meant ("" when none is near)."""
    names = [variable.name.upper() for variable in variables()]
    sections = {NESTED.join(name.split(NESTED)[:depth]) for name in names for depth in range(1, name.count(NESTED) + 1)}
    known = {*names, *sections, INDEXES}
    unknown: dict[str, str] = {}
    for name in sorted(environ):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper.startswith((FOR_TESTS, INDEXES + NESTED)) or upper in known:
            continue
        unknown[name] = next(iter(difflib.get_close_matches(upper, names, n=1)), "")
    return unknown


def masked(text: str) -> str:
    """`text` without the passwords of URLs in it."""
    return _PASSWORD_IN_URL.sub(rf"\1:{MASK}@", text)


def _variables(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[Variable]:
    section = _first_line(model.__doc__) if path else "Where it works, and on what."
    branches: list[tuple[str, type[BaseModel]]] = []
    for name, field in model.model_fields.items():
        here = (*path, name)
        if here == ("indexes",):
            continue
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            branches.append((name, inner))
            continue
        yield Variable(
            _name(here), here, section, _kind(field), _plain(field.default), field.description or "", _is_secret(field)
        )
    for name, inner in branches:
        yield from _variables(inner, (*path, name))


def _value(variable: Variable, value: object) -> Value:
    is_default = _plain(value) == variable.default and not isinstance(value, SecretStr)
    return Value(variable, masked(_plain(value)), is_default)


def _at(settings: Settings, path: tuple[str, ...]) -> object:
    node: object = settings
    for part in path:
        node = getattr(node, part)
    return node


def _name(path: tuple[str, ...]) -> str:
    # An index's name stays as it is: it is data.
    return PREFIX + NESTED.join(part if path[0] == "indexes" and depth == 1 else part.upper() for depth, part in enumerate(path))


def _plain(value: object) -> str:
    """The value as it would stand in the environment."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple | list):
        return orjson.dumps([str(item) if isinstance(item, Path) else item for item in value]).decode()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_secret(field: FieldInfo) -> bool:
    return field.annotation is SecretStr or SecretStr in get_args(field.annotation)


def _kind(field: FieldInfo) -> str:
    """What may be given, in a few words."""
    bounds = list(_bounds(field))
    return " ".join([_type_name(field.annotation), *bounds])


def _type_name(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _type_name(next(arg for arg in args if arg is not type(None)))
    if origin is Literal:
        return ", ".join(map(str, args))
    if origin is tuple:
        return "JSON list"
    names = {int: "whole number", float: "number", bool: "true, false", str: "text", Path: "path", SecretStr: "secret"}
    return names.get(annotation, "text")


def _bounds(field: FieldInfo) -> Iterator[str]:
    inner = get_args(field.annotation)[1:] if get_origin(field.annotation) else ()
    for item in (*field.metadata, *inner):
        for attribute, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<")):
            bound = getattr(item, attribute, None)
            if isinstance(bound, int | float):
                yield f"{sign} {bound}"


def _first_line(doc: str | None) -> str:
    return " ".join((doc or "").split())
