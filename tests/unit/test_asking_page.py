"""docs/asking.md says what the code does: examples are requests and events, tables are complete, limits are those of the code."""

from __future__ import annotations

import base64
import json
import re
from typing import Any, get_args

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from connectors.kafka.topic_specs import QUERY_RETENTION_MS
from query_api.messages import MAX_LETTER_BYTES
from query_api.pipeline import SHARE_FOR_WRITES
from query_api.repeats.repeats import MAX_BYTES
from query_api.worker import REPLY_TRIES
from schemas import filters, queries
from schemas.acl import MAX_ALLOW_LIST
from schemas.errors import Rejected
from schemas.feedback import MAX_COMMENT_LENGTH, Feedback
from schemas.index import DocKey
from schemas.publish import json_schema
from schemas.queries import UNKNOWN_ANSWER, AnswerEvent, Mode, Outcome, QueryRequest
from schemas.settings import MIB, CacheSettings, KafkaSettings, QuerySettings
from schemas.tokens import WriteToken
from schemas.wire import parse
from tests.markdown import ROOT, CodeBlock, code_blocks

PAGE = (ROOT / "docs" / "asking.md").read_text()
EXAMPLES = [block for block in code_blocks("asking.md") if block.language == "json"]
MODELS: dict[str, type[BaseModel]] = {"request": QueryRequest, "answer": AnswerEvent, "feedback": Feedback}
SOURCES = ("schemas/*.py", "query_api/*.py", "query_api/identity/*.py", "ragstream/services/read_path.py")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Names in the first column of a table; several may share a row."""
    cells = re.findall(r"^\| (`[^|]+) \|", text, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"line {block.line}")
def test_examples_are_what_they_are_said_to_be(block: CodeBlock) -> None:
    """Each is a message of its kind, or is rejected for the reason beside it; no field of it is one that would be ignored."""
    model = MODELS[block.words["kind"]]
    try:
        read = parse(model, block.text.encode())
    except Rejected as exc:
        assert exc.reason == block.words.get("rejected")
        return
    assert "rejected" not in block.words
    assert_told(json.loads(block.text), json.loads(read.model_dump_json(by_alias=True)))


def assert_told(given: Any, read: Any) -> None:
    """Everything in `given` is in `read`, down to the innermost field."""
    if isinstance(given, dict):
        assert set(given) <= set(read)
        for name, value in given.items():
            assert_told(value, read[name])
    elif isinstance(given, list):
        assert len(given) == len(read)
        for one, other in zip(given, read, strict=True):
            assert_told(one, other)


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"line {block.line}")
def test_the_json_schemas_come_to_the_same_verdict(block: CodeBlock) -> None:
    """Whoever checks against the published schema before sending learns it there."""
    schema = json_schema(MODELS[block.words["kind"]])
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert validator.is_valid(json.loads(block.text)) == ("rejected" not in block.words)


def test_every_field_is_in_its_table() -> None:
    """Of requests, of events and of feedback, and no other."""
    assert sorted(first_cells(section("The request"))) == sorted(QueryRequest.model_fields)
    assert sorted(first_cells(section("The answer"))) == sorted(AnswerEvent.model_fields)
    assert sorted(first_cells(section("Feedback"))) == sorted(Feedback.model_fields)
    for name in queries.Citation.model_fields:
        assert f"`{name}`" in section("The answer")


def test_null_is_taken_where_the_page_says() -> None:
    """And rejected elsewhere."""
    said = re.search(r"`null` means left out for (.*?); elsewhere", PAGE, re.DOTALL)
    assert said is not None
    takes_null = set()
    for name in QueryRequest.model_fields:
        try:
            QueryRequest.model_validate({"query_id": "q", "question": "?", name: None})
        except ValidationError:
            continue
        takes_null.add(name)
    assert set(re.findall(r"`(\w+)`", said[1])) == takes_null


def test_outcomes_and_modes_are_all_there() -> None:
    """As the contract has them."""
    outcomes, reasons = section("How it ended").split("| `reason` |")
    assert sorted(first_cells(outcomes)) == sorted(["outcome", *get_args(Outcome)])
    for mode in get_args(Mode):
        assert f"`{mode}`" in section("The answer")
    told = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", reasons, re.MULTILINE))
    assert set(told.values()) <= set(get_args(Outcome))
    code = "\n".join(path.read_text() for pattern in SOURCES for path in ROOT.glob(pattern))
    assert [reason for reason in told if f'"{reason}"' not in code] == []
    given = re.findall(r'outcome="(\w+)",\s*reason="(\w+)"', code)
    assert {reason: outcome for outcome, reason in given}.items() <= told.items()


def test_every_reason_of_credentials_is_explained() -> None:
    """What a token can be refused for, found where tokens are read."""
    identity = ROOT / "query_api" / "identity"
    code = "\n".join((identity / name).read_text() for name in ("signed_tokens.py", "identity.py"))
    given = set(re.findall(r'(?:reason|expired|msg) = "([a-z]+_[a-z_]+)"', code)) - {"bad_key_set"}
    assert given >= {"invalid_credentials", "credentials_expired", "unusable_principal", "too_many_groups"}
    assert given <= set(first_cells(section("How it ended")))


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("one line, 1 to {} characters | required", queries.MAX_QUERY_ID_LENGTH),
        ("text, up to {} characters | | What is asked", queries.MAX_QUESTION_LENGTH),
        ("up to {} turns of", queries.MAX_MESSAGES),
        ("turns of up to {} characters", queries.MAX_MESSAGE_LENGTH),
        ("up to {} of `user:…`", MAX_ALLOW_LIST),
        ("names {} users and groups or more", MAX_ALLOW_LIST),
        ("one line, up to {} characters | none | A signed", queries.MAX_SIGNED_TOKEN),
        ("| up to {} names |", queries.MAX_INDEXES),
        ("| `filters` | up to {} |", filters.MAX_FILTERS),
        ("(`in`, up to {})", filters.MAX_VALUES),
        ("| `passages` | 1 to {} | 5 |", queries.MAX_PASSAGES),
        ("| `after` | up to {} tokens |", queries.MAX_TOKENS),
        ("| `max_tokens` | 1 to {} |", queries.MAX_OUTPUT_TOKENS),
        ("| `comment` | up to {} characters", MAX_COMMENT_LENGTH),
        ("takes `RAG_QUERY__DEADLINE_S` ({:.0f} s) at most", QuerySettings().deadline_s),
        ("for {:.0f} s (`RAG_QUERY__REPEAT_TTL_S`)", QuerySettings().repeat_ttl_s),
        ("(`RAG_QUERY__CONCURRENCY`, {} a worker)", QuerySettings().concurrency),
        ("after {:.0f} % of the time that is left", SHARE_FOR_WRITES * 100),
        ("no answer of more than {:.0f} MiB", MAX_BYTES / MIB),
        ("beyond {:.0f} KiB, or what a message may have, the headers", MAX_LETTER_BYTES / 1024),
        ("`RAG_KAFKA__MAX_MESSAGE_BYTES` ({:.0f} MiB)", KafkaSettings().max_message_bytes / MIB),
    ],
)
def test_limits_are_those_of_the_code(said: str, value: float) -> None:
    """A limit that changes is changed on the page, too."""
    assert said.format(value) in PAGE


def test_what_is_told_in_words_is_so() -> None:
    """Numbers that the page spells out, and the one sentence that is said word for word."""
    assert (REPLY_TRIES, QUERY_RETENTION_MS, CacheSettings().ttl_s) == (3, 3_600_000, 86_400)
    assert f'"{UNKNOWN_ANSWER}"' in PAGE


def test_a_token_can_be_made_as_described() -> None:
    """By a system that publishes through Kafka, in any language."""
    assert "unpadded URL-safe base64 of the JSON array\n`[log, partition, offset, index, doc_id]`" in PAGE
    parts = ["c1/rag.documents/t1", 3, 41, "docs", "cards/freeze"]
    token = base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")
    assert WriteToken.parse(token) == WriteToken("c1/rag.documents/t1", 3, 41, DocKey("docs", "cards/freeze"))


def test_links_lead_somewhere() -> None:
    """Files beside it, and headings of this page and of others."""
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        if target.startswith("https:"):
            continue
        file, _, heading = target.partition("#")
        page = ROOT / "docs" / file if file else ROOT / "docs" / "asking.md"
        assert page.exists(), target
        slugs = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in page.read_text().splitlines()}
        assert not heading or heading in slugs, target
