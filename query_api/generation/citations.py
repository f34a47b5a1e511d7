"""Citations in a model's text, checked while it streams: those that no passage stands behind are removed and counted. Pure.

What comes out doesn't depend on how the text was cut into pieces: every decision waits until what follows can't change it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple

GROUP_MAX: Final = 48
"""Characters between brackets; a longer one is no citation."""
GROUPS_MAX: Final = 8
"""Groups side by side that are settled together."""
CODE_MAX: Final = 240
"""Characters of inline code; a backtick whose partner is further away is a backtick."""
FENCE_LINE_MAX: Final = 200
LINK_START: Final = 10
"""Characters after a bracket that tell whether it is a link's."""
SPACES_MAX: Final = 80

# [1], [1, 2], [1-3], [2; 4 and 5], and what models make of a prompt's words: [Passage 2].
_GROUP: Final = re.compile(
    r"\[\s*(?:(?:passages?|sources?|documents?|evidence)\s*#?\s*)?"
    r"(\d{1,6}(?:\s*(?:,|;|&|-|–|—|\band\b|\s)\s*\d{1,6})*)\s*\]",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(r"(\d{1,6})\s*[-–—]\s*(\d{1,6})|(\d{1,6})")
_LINK: Final = re.compile(r"\((?:https?:|mailto:|www\.|/|#|\.|<)", re.IGNORECASE)
_CLOSING: Final = frozenset(".,;:!?)]}'\"”’")
_SPECIAL: Final = re.compile(r"[\s\[`~\\]")


class _Step(NamedTuple):
    """What the head of the held text becomes, and how much of it that was."""

    output: str
    length: int


@dataclass(slots=True)
class CitationFilter:
    """One text's. Feed it pieces, then finish it; what it returns, joined, is the text.

    Valid groups come out as `[1][3]`, each number once. Code and Markdown links are left as they are; white space at both ends
    of the text is dropped.

    Attributes:
        passages: valid numbers are 1 to this.
        cited: valid numbers that occurred, in the order of their first occurrence.
        invented: numbers without a passage, as often as they occurred.
    """

    passages: int
    cited: list[int] = field(default_factory=list)
    invented: int = 0
    _held: str = ""
    _has_begun: bool = False
    _at_line_start: bool = True
    _fence: str = ""

    def feed(self, piece: str) -> str:
        """The text that is settled now."""
        self._held += piece
        return self._drain(is_final=False)

    def finish(self) -> str:
        """The rest of it."""
        return self._drain(is_final=True)

    def _drain(self, *, is_final: bool) -> str:
        out: list[str] = []
        while self._held:
            step = self._step(self._held, is_final=is_final)
            if step is None:
                break
            self._note_line(self._held[: step.length])
            self._held = self._held[step.length :]
            self._has_begun = self._has_begun or bool(step.output)
            out.append(step.output)
        return "".join(out)

    def _step(self, held: str, *, is_final: bool) -> _Step | None:  # noqa: PLR0911  one a kind of character
        """Settle the head of `held`; None: what follows decides."""
        if not self._has_begun:
            rest = held.lstrip()
            if not rest:
                return _Step("", len(held))
            if len(rest) < len(held):
                return _Step("", len(held) - len(rest))
        if self._fence:
            return self._in_fence(held, is_final=is_final)
        head = held[0]
        if head.isspace():
            return self._space(held, is_final=is_final)
        if head == "[":
            return self._bracket(held, 0, is_final=is_final)
        if head in "`~":
            return self._ticks(held, is_final=is_final)
        if head == "\\":
            return _Step(held[:2], min(2, len(held))) if len(held) > 1 or is_final else None
        match = _SPECIAL.search(held)
        end = match.start() if match else len(held)
        return _Step(held[:end], end)

    def _space(self, held: str, *, is_final: bool) -> _Step | None:
        """White space waits for what follows: before a removed citation it goes with it, at the end of the text too."""
        rest = held.lstrip()
        length = len(held) - len(rest)
        if length > SPACES_MAX:
            return _Step(held[0], 1)
        if not rest:
            return _Step("", length) if is_final else None
        if rest[0] == "[":
            return self._bracket(held, length, is_final=is_final)
        return _Step(held[:length], length)

    def _bracket(self, held: str, begin: int, *, is_final: bool) -> _Step | None:
        """White space up to `begin`, then groups: `[1] [2, 3]`."""
        numbers: list[int] = []
        end = begin
        for _ in range(GROUPS_MAX):
            found = self._group(held, end if not numbers else _after_blanks(held, end), is_final=is_final)
            if found is None:
                return None
            group, stop = found
            if not group:
                break
            numbers += group
            end = stop
        if not numbers:
            # No citation: the bracket is text, and what is in it is looked at by itself.
            return _Step(held[: begin + 1], begin + 1)
        valid = self._check(numbers)
        if valid:
            return _Step(held[:begin] + "".join(f"[{number}]" for number in valid), end)
        following = held[end : end + 1]
        if not following and not is_final:
            return None
        keeps_space = bool(following) and not following.isspace() and following not in _CLOSING
        return _Step(held[:begin] if keeps_space else "", end)

    def _group(self, held: str, at: int, *, is_final: bool) -> tuple[list[int], int] | None:  # noqa: PLR0911  one a reason
        """The numbers of the group at `at` and where it ends; no numbers: it is none; None: what follows decides."""
        if at >= len(held):
            return ([], at) if is_final else None
        if held[at] != "[":
            return [], at
        stop = next((i for i in range(at + 1, min(len(held), at + GROUP_MAX)) if held[i] in "[]\n"), None)
        if stop is None:
            return ([], at) if is_final or len(held) >= at + GROUP_MAX else None
        match = _GROUP.fullmatch(held, at, stop + 1)
        if match is None:
            return [], at
        after = held[stop + 1 : stop + 1 + LINK_START]
        if not is_final and (not after or (after[0] == "(" and len(after) < LINK_START)):
            return None
        if _LINK.match(after):
            return [], at
        return _numbers(match.group(1), self.passages), stop + 1

    def _check(self, numbers: list[int]) -> list[int]:
        valid = list(dict.fromkeys(number for number in numbers if 1 <= number <= self.passages))
        self.invented += sum(not 1 <= number <= self.passages for number in numbers)
        self.cited += [number for number in valid if number not in self.cited]
        return valid

    def _ticks(self, held: str, *, is_final: bool) -> _Step | None:
        mark = held[0]
        run = len(held) - len(held.lstrip(mark))
        if run == len(held) and not is_final:
            return None
        if self._at_line_start and run >= 3:  # noqa: PLR2004  Markdown's own number
            self._fence = mark * run
            return _Step(held[:run], run)
        if mark == "~":
            return _Step(held[:run], run)
        end = _code_end(held, run, is_final=is_final)
        return _Step(held[:end], end) if end else None

    def _in_fence(self, held: str, *, is_final: bool) -> _Step | None:
        """Line by line: nothing is a citation until the fence closes."""
        end = held.find("\n") + 1
        if not end:
            if not is_final and len(held) <= FENCE_LINE_MAX:
                return None
            end = len(held)
        bare = held[:end].strip()
        is_short = end <= FENCE_LINE_MAX  # what is longer wasn't waited for
        if self._at_line_start and is_short and bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            self._fence = ""
            end -= held[end - 1] == "\n"  # what follows decides whether the line's end stays
        return _Step(held[:end], end)

    def _note_line(self, consumed: str) -> None:
        last = consumed.rpartition("\n")[2]
        if "\n" in consumed:
            self._at_line_start = not last.strip(" ")
        elif consumed.strip(" "):
            self._at_line_start = False


def _after_blanks(held: str, at: int) -> int:
    while at < len(held) and held[at] in " \t":
        at += 1
    return at


def _code_end(held: str, run: int, *, is_final: bool) -> int | None:
    """Where inline code that opens with `run` backticks ends; `run` itself where it is none; None: what follows decides."""
    at = run
    while at < min(len(held), CODE_MAX):
        if held[at] == "\n":
            return run
        if held[at] != "`":
            at += 1
            continue
        length = len(held[at:]) - len(held[at:].lstrip("`"))
        if at + length == len(held) and not is_final:
            return None  # the run may go on
        at += length
        if length == run:
            return at
    return run if is_final or at >= CODE_MAX else None


def _numbers(text: str, passages: int) -> list[int]:
    """Every number of a group; a range stands for its numbers, and for one invented one if it goes beyond the passages."""
    found: list[int] = []
    for first, last, single in _RANGE.findall(text):
        if single:
            found.append(int(single))
            continue
        low, high = sorted((int(first), int(last)))
        found += range(max(1, low), min(high, passages) + 1)
        if low < 1 or high > passages:
            found.append(passages + 1)
    return found
