"""Text from outside, made inert for a prompt: it can't end its quotation, nor speak the language of chat templates. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Final

FENCE_LENGTH: Final = 10
TITLE_LENGTH_MAX: Final = 200

# Servers that run open models read these in any text as a change of speaker.
_CONTROL_TOKENS: Final = re.compile(
    r"<(?=\|)|(?<=\|)>"  # <|im_start|>, <|eot_id|>
    r"|<(?=/?s>|</?SYS>>|/?(?:start|end)_of_(?:turn|text)>|/?(?:bos|eos|pad|unk|think|system|user|assistant)>)"
    r"|<(?=｜)|(?<=｜)>"  # DeepSeek's
    r"|\[(?=/?INST\]|/?(?:SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\])",
    re.IGNORECASE,
)
_INVISIBLE: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\U000e0000-\U000e007f]")


def inert(text: str) -> str:
    """`text` without what is invisible, and with a gap in whatever a chat template would take for one of its own marks."""
    shown = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _CONTROL_TOKENS.sub(lambda match: f"{match.group()} " if match.group() in "<[" else f" {match.group()}", shown)


def inert_line(text: str, length: int = TITLE_LENGTH_MAX) -> str:
    """The same, on one line, cut at `length` characters."""
    return " ".join(inert(text).split())[:length]


def fence_for(texts: Sequence[str]) -> str:
    """A word that occurs in none of `texts`, the same for the same texts: nobody can have written its end into one of them."""
    joined = "\n".join(texts)
    number = 0
    while True:
        fence = hashlib.sha256(f"{number}\n{joined}".encode(errors="surrogatepass")).hexdigest()[:FENCE_LENGTH]
        if fence not in joined:
            return fence
        number += 1
