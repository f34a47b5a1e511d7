"""How the help centre came to be what it is: a list of steps, and the walk back through them. Pure.

Only final texts are stored. A step says what it replaced, so undoing the steps from the last to the first gives every
earlier version, and a corrected sentence is corrected in one place. Steps (one JSON object a line, oldest first):

    publish  doc_id                        the first version
    edit     doc_id, edits [{old, new}]    `old` became `new`; an empty `old` means that `new` was added
    rename   doc_id, to, edits             published under another name, and deleted under the former
    access   doc_id, was, acl              other readers, same text
    delete   doc_id                        taken away; its last text is in `retired/`
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from ragstream.corpus.help_article import Article, access, delete


@dataclass(frozen=True, slots=True)
class Edit:
    """A passage that became another one. `new` occurs exactly once in the text after it, `old` not at all or once before it."""

    old: str
    new: str

    def apply(self, text: str) -> str:
        """The text after the edit. Raises: ValueError, when `old` isn't there exactly once."""
        return _swap(text, self.old, self.new)

    def undo(self, text: str) -> str:
        """The text before the edit. Raises: ValueError, when `new` isn't there exactly once."""
        return _swap(text, self.new, self.old)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the history; fields that its op doesn't use are empty."""

    at: datetime
    op: str
    doc_id: str
    to: str = ""
    note: str = ""
    edits: tuple[Edit, ...] = ()
    was: tuple[str, ...] = ()
    acl: tuple[str, ...] = ()


def parse_history(raw: str) -> list[Step]:
    """Read history.jsonl."""
    return [_step(json.loads(line)) for line in raw.splitlines()]


def replay(steps: Sequence[Step], final: dict[str, Article]) -> list[dict[str, Any]]:
    """The changes that lead to the `final` articles, oldest first.

    Raises: ValueError, when steps and final texts don't fit together; the message names the step.
    """
    state = dict(final)
    newest_first: list[dict[str, Any]] = []
    for step in reversed(steps):
        try:
            newest_first.extend(_walk_back(step, state))
        except (KeyError, ValueError) as exc:
            msg = f"history.jsonl, {step.op} of {step.doc_id} at {step.at:%Y-%m-%d %H:%M}: {exc}"
            raise ValueError(msg) from exc
    if state:
        msg = f"history.jsonl never publishes {', '.join(sorted(state))}"
        raise ValueError(msg)
    return newest_first[::-1]


def _walk_back(step: Step, state: dict[str, Article]) -> list[dict[str, Any]]:
    """Emit a step's changes, newest first, and bring `state` to what it was before the step."""
    if step.op == "delete":
        return [delete(step.doc_id, step.at)]
    if step.op == "rename":
        after = state.pop(step.to)
        state[step.doc_id] = replace(_before(step.edits, after), doc_id=step.doc_id)
        return [delete(step.doc_id, step.at), after.upsert(step.at)]
    after = state.pop(step.doc_id)
    if step.op == "access":
        state[step.doc_id] = replace(after, acl=step.was)
        return [access(step.doc_id, step.acl, step.at)]
    if step.op == "edit":
        state[step.doc_id] = _before(step.edits, after)
    elif step.op != "publish":
        msg = f"unknown op {step.op!r}; known are publish, edit, rename, access and delete"
        raise ValueError(msg)
    return [after.upsert(step.at)]


def _before(edits: Sequence[Edit], after: Article) -> Article:
    text = after.text
    for edit in reversed(edits):
        text = edit.undo(text)
    return replace(after, text=text)


def _swap(text: str, out: str, into: str) -> str:
    if text.count(out) != 1:
        msg = f"{out!r} must occur exactly once in the text, not {text.count(out)} times"
        raise ValueError(msg)
    return text.replace(out, into)


def _step(fields: dict[str, Any]) -> Step:
    return Step(
        at=datetime.fromisoformat(fields["at"]),
        op=fields["op"],
        doc_id=fields["doc_id"],
        to=fields.get("to", ""),
        note=fields.get("note", ""),
        edits=tuple(Edit(**edit) for edit in fields.get("edits", ())),
        was=tuple(fields.get("was", ())),
        acl=tuple(fields.get("acl", ())),
    )
