"""YAML with the line of everything in it, so that an error can say where. Knows nothing of routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import yaml

MAX_DEPTH: Final = 16
_NO_LINE: Final = 1

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value."""


class InvalidYaml(ValueError):
    """The text is no YAML, or YAML that could be misread; the message says where."""


class Located(NamedTuple):
    """What a YAML text holds, and on which line each value of it stands."""

    value: Any
    lines: dict[Place, int]

    def line(self, place: Sequence[str | int]) -> int:
        """The line of the innermost value known at `place`."""
        return next(
            (self.lines[tuple(place[:end])] for end in range(len(place), -1, -1) if tuple(place[:end]) in self.lines), _NO_LINE
        )


def read_yaml(text: str) -> Located:
    """One YAML document. Raises: InvalidYaml, also for a key given twice (YAML would silently take the last) and for aliases."""
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            lines: dict[Place, int] = {}
            if node is None:
                return Located(None, lines)
            _walk(node, (), lines, set())
            return Located(loader.construct_document(node), lines)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as exc:
        line = exc.problem_mark.line + 1 if exc.problem_mark else _NO_LINE
        msg = f"line {line}: {exc.problem or exc.context or 'not YAML'}"
        raise InvalidYaml(msg) from exc
    except (yaml.YAMLError, ValueError) as exc:  # a character that YAML has not; a date that does not exist
        raise InvalidYaml(" ".join(str(exc).split())) from exc
    except RecursionError as exc:
        msg = f"nested more than {MAX_DEPTH} deep"
        raise InvalidYaml(msg) from exc


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int], seen: set[int]) -> None:
    line = node.start_mark.line + 1
    if id(node) in seen:  # a few nested aliases stand for billions of values
        msg = f"line {line}: this value is used again through an alias (*name), which is not supported. Write it out"
        raise InvalidYaml(msg)
    seen.add(id(node))
    if len(place) > MAX_DEPTH:
        msg = f"line {line}: nested more than {MAX_DEPTH} deep"
        raise InvalidYaml(msg)
    lines.setdefault(place, line)
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*place, position), lines, seen)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = str(key.value)
            if (*place, name) in lines:
                msg = f"line {key.start_mark.line + 1}: `{name[:64]}` is given twice, first on line {lines[*place, name]}"
                raise InvalidYaml(msg)
            lines[*place, name] = key.start_mark.line + 1
            _walk(value, (*place, name), lines, seen)
