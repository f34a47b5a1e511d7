"""One article of the demo's help centre: its file, and the message that publishes it. Pure.

A file opens with a few `key: value` lines between two `---`, the values being words or JSON lists; Markdown follows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

INDEX: Final = "docs"
SITE: Final = "https://help.harbour.example"

_FENCE = "---\n"


@dataclass(frozen=True, slots=True)
class Article:
    """An article as it stands at one moment.

    Attributes:
        doc_id: category and slug, such as `cards/card-delivery`.
        text: Markdown; the first line is the title as a heading.
        acl: who may read it.
        audience: `public` or `internal`, for filters. The ACL decides, not this.
        expires_at: RFC 3339; None for articles that stay.
    """

    doc_id: str
    text: str
    acl: tuple[str, ...]
    category: str
    audience: str
    expires_at: str | None = None

    @property
    def title(self) -> str:
        """The text of the first heading."""
        return self.text.split("\n", 1)[0].removeprefix("# ")

    @property
    def source_uri(self) -> str:
        return f"{SITE}/{self.doc_id}"

    def upsert(self, event_time: datetime) -> dict[str, Any]:
        """The `DocumentChange` that publishes this text."""
        change: dict[str, Any] = {
            **_change("upsert", self.doc_id, event_time),
            "title": self.title,
            "content": {"text": self.text, "media_type": "text/markdown"},
            "acl": list(self.acl),
            "source_uri": self.source_uri,
            "metadata": {"category": self.category, "audience": self.audience},
        }
        if self.expires_at is not None:
            change["expires_at"] = self.expires_at
        return change


def delete(doc_id: str, event_time: datetime) -> dict[str, Any]:
    """The `DocumentChange` that takes a document away."""
    return _change("delete", doc_id, event_time)


def access(doc_id: str, acl: tuple[str, ...], event_time: datetime) -> dict[str, Any]:
    """The `DocumentChange` that says anew who may read a document."""
    return {**_change("access", doc_id, event_time), "acl": list(acl)}


def parse_article(doc_id: str, raw: str) -> Article:
    """Read an article's file. Raises: ValueError, when its head is not as described above."""
    head, closing, text = raw.removeprefix(_FENCE).partition(_FENCE)
    if not (raw.startswith(_FENCE) and closing):
        msg = f"{doc_id}: the file must open with `key: value` lines between two `---` lines"
        raise ValueError(msg)
    fields = dict(line.split(": ", 1) for line in head.splitlines())
    return Article(
        doc_id=doc_id,
        text=text.strip() + "\n",
        acl=tuple(json.loads(fields["acl"])),
        category=fields["category"],
        audience=fields["audience"],
        expires_at=fields.get("expires_at"),
    )


def _change(op: str, doc_id: str, event_time: datetime) -> dict[str, Any]:
    moment = event_time.isoformat().replace("+00:00", "Z")
    return {"schema_version": 1, "op": op, "doc_id": doc_id, "index": INDEX, "event_time": moment}
