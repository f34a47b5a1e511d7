"""Which blocks are found in Markdown and in plain text."""

from flows.chunking.blocks import (
    BREAK_AFTER_HEADING,
    BREAK_CONTINUED,
    BREAK_FRONT_MATTER,
    BREAK_HEADING_1,
    BREAK_ITEM,
    BREAK_PARAGRAPH,
    markdown_blocks,
    plain_blocks,
)

DOCUMENT = """---
id: fees.md
# a comment
---

# Fees

What it costs:

- a transfer
- a card
  - a second card

  More on cards.

```python
# not a heading

x = 1
```

| a | b |
|---|---|
| 1 | 2 |

[ref]: http://example.org
"""


def texts(source: str) -> list[str]:
    return [source[block.start : block.end] for block in markdown_blocks(source)]


def test_blocks_of_a_markdown_document() -> None:
    """Front matter, heading, paragraph, items, code, table and link definitions are blocks of their own."""
    assert texts(DOCUMENT) == [
        "---\nid: fees.md\n# a comment\n---",
        "# Fees",
        "What it costs:",
        "- a transfer",
        "- a card",
        "- a second card",
        "More on cards.",
        "```python\n# not a heading\n\nx = 1\n```",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "[ref]: http://example.org",
    ]


def test_breaks_say_how_strongly_blocks_are_set_apart() -> None:
    """What follows a heading or a colon is bound to it; items are looser, paragraphs looser still."""
    source = "# A\n\ntext:\n\n- x\n- y\n\npara\n\npara"
    breaks = [block.break_before for block in markdown_blocks(source)]
    assert breaks == [
        BREAK_HEADING_1,
        BREAK_AFTER_HEADING,
        BREAK_CONTINUED,
        BREAK_ITEM,
        BREAK_PARAGRAPH,
        BREAK_PARAGRAPH,
    ]


def test_text_after_front_matter_is_set_apart_from_it() -> None:
    """Front matter is joined with the body last."""
    blocks = markdown_blocks("---\na: b\n---\nbody\n\nmore")
    assert [block.break_before for block in blocks] == [BREAK_FRONT_MATTER, BREAK_FRONT_MATTER, BREAK_PARAGRAPH]


def test_windows_newlines_give_the_same_blocks() -> None:
    """CRLF moves no boundary."""
    windows = DOCUMENT.replace("\n", "\r\n")
    assert [text.replace("\r\n", "\n") for text in texts(windows)] == texts(DOCUMENT)


def test_plain_text_is_cut_at_blank_lines() -> None:
    """Markdown's marks mean nothing in plain text."""
    source = "# one\ntwo\n \n\n- three\r\n\r\nfour"
    assert [source[block.start : block.end] for block in plain_blocks(source)] == ["# one\ntwo", "- three", "four"]
