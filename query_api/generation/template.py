"""The prompt's template: Jinja in a sandbox, an operator's own or the one that comes along. A broken one is refused at start."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from connectors.llm import Turn
from query_api.generation.budget import clipped
from query_api.generation.inert import fence_for, inert, inert_line
from schemas.errors import Misconfigured
from schemas.queries import UNKNOWN_ANSWER

SHIPPED: Final = "prompt.jinja"
SMALL: Final = "small.jinja"
"""For the small model in this process."""
SIZE_MAX: Final = 65_536
BLOCKS: Final = ("system", "user")
EXAMPLE: Final = ("example_user", "example_assistant")
"""Both or neither: a question answered as it should be, shown as turns before the real one."""
NAMES: Final = frozenset({"question", "passages", "fence", "unknown"})
REMEDY: Final = "Mend it, or unset RAG_LLM__PROMPT_FILE for the prompt that comes along (docs/models.md)"

RENDERING_ERRORS: Final = (TemplateError, TypeError, ValueError, ArithmeticError, AttributeError, LookupError)
"""What running a template can raise: its own errors, and those of the operations in it."""


class Evidence(NamedTuple):
    """A passage as the template sees it."""

    number: int
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """Makes a model's turns of a question and its passages.

    Attributes:
        digest: of the template's text; equal texts make equal prompts.
    """

    digest: str
    _blocks: Mapping[str, Any]
    _template: Template

    def render(self, question: str, passages: Sequence[tuple[str, str]], room: int) -> tuple[Turn, ...]:
        """Turns for `passages`, (title, text) each, numbered from 1. A text that takes more than `room` tokens is cut.

        Whatever comes from outside is data: the template never reads it as a template, it can't end its quotation, and marks of
        chat templates in it are broken up.

        Raises: one of `RENDERING_ERRORS`, where an operator's template can't cope with these passages.
        """
        evidence = [
            Evidence(number, inert_line(title), clipped(inert(text), room))
            for number, (title, text) in enumerate(passages, start=1)
        ]
        asked = inert(question)
        fence = fence_for([asked, *(part for passage in evidence for part in (passage.title, passage.text))])
        values = {"question": asked, "passages": evidence, "fence": fence, "unknown": UNKNOWN_ANSWER}
        names = [name for name in (*BLOCKS, *EXAMPLE) if name in self._blocks]
        try:
            said = {name: "".join(self._blocks[name](self._template.new_context(values))).strip() for name in names}
        except RENDERING_ERRORS:
            self._template.environment.handle_exception()  # raises it again, with the template's own lines in its traceback
        user = Turn("user", said["user"])
        if EXAMPLE[0] not in said:
            return Turn("system", said["system"]), user
        return Turn("system", said["system"]), Turn("user", said[EXAMPLE[0]]), Turn("assistant", said[EXAMPLE[1]]), user


def load_template(path: Path | None, shipped: str = SHIPPED) -> PromptTemplate:
    """The template at `path`; the one that comes along where None. Raises: Misconfigured, naming the line and the remedy."""
    if path is None:
        return _compiled(files("query_api.generation").joinpath(shipped).read_text(encoding="utf-8"), shipped)
    try:
        with path.open("rb") as file:
            raw = file.read(SIZE_MAX + 1)
        if len(raw) > SIZE_MAX:
            raise _broken(path, f"it is larger than {SIZE_MAX} bytes")
        return _compiled(raw.decode("utf-8"), path)
    except (OSError, UnicodeDecodeError) as exc:
        raise _broken(path, str(exc)) from exc


def _compiled(source: str, path: Path | str) -> PromptTemplate:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, autoescape=False, extensions=(), cache_size=0
    )
    try:
        unknown = meta.find_undeclared_variables(environment.parse(source)) - NAMES
        template = environment.from_string(source)
    except TemplateSyntaxError as exc:
        raise _broken(path, f"line {exc.lineno}: {exc.message}") from exc
    if unknown:
        line = next(number for number, text in enumerate(source.splitlines(), start=1) if any(name in text for name in unknown))
        raise _broken(path, f"line {line}: there is no {', '.join(sorted(unknown))}; there are {', '.join(sorted(NAMES))}")
    missing = [name for name in BLOCKS if name not in template.blocks]
    if missing:
        raise _broken(path, f"it has no {{% block {missing[0]} %}}; it needs {' and '.join(BLOCKS)}")
    halves = [name for name in EXAMPLE if name in template.blocks]
    if len(halves) == 1:
        raise _broken(path, f"it has {{% block {halves[0]} %}} alone; an example needs {' and '.join(EXAMPLE)}")
    made = PromptTemplate(hashlib.sha256(source.encode()).hexdigest()[:16], dict(template.blocks), template)
    _try(made, path)
    return made


def _try(template: PromptTemplate, path: Path | str) -> None:
    """A template that leaves out the question or a passage, or fails on the first real one, is found out now."""
    question, texts = "What is asked?", ["The first text.", "The second text."]
    try:
        turns = template.render(question, [("A title", text) for text in texts], room=1_000)
    except RENDERING_ERRORS as exc:
        raise _broken(path, f"line {_line_of(exc)}: {exc}") from exc
    user = turns[-1].content
    if question not in user or any(text not in user for text in texts):
        raise _broken(path, "its block `user` must show the question and the text of every passage")


def _line_of(error: BaseException) -> int:
    """The template's line in a rendering error: Jinja rewrites tracebacks to its own lines."""
    line, step = 1, error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename == "<template>":
            line = step.tb_lineno
        step = step.tb_next
    return line


def _broken(path: Path | str, what: str) -> Misconfigured:
    return Misconfigured(f"RAG_LLM__PROMPT_FILE={path}: {what}. {REMEDY}.")
