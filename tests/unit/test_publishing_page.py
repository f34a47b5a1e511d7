"""docs/publishing.md says what the code does: its examples decode, its tables are complete, its limits are the code's."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from connectors.kafka.records import Record
from flows.ingest.events import Event, Rejection, decode
from ragstream.embedded.intake import MAX_EVENT_BYTES
from schemas import acl, documents, wire
from schemas.documents import DocumentChange
from schemas.publish import DEAD_LETTER_HEADERS, json_schema
from schemas.settings import MIB, BlobSettings, IndexSettings, KafkaSettings, ParsingSettings, load_settings
from tests.markdown import ROOT, CodeBlock, code_blocks

NOW_MS = wire.to_ms(wire.from_ms(1_772_668_800_000))  # after the examples' times
INDEXES = {"docs": IndexSettings(), "tickets": IndexSettings(versions="producer")}
PAGE = (ROOT / "docs/publishing.md").read_text()
EXAMPLES = [block for block in code_blocks("publishing.md") if block.language == "json"]
REASON_SOURCES = ("schemas/wire.py", "flows/ingest/*.py", "connectors/parsing/*.py", "connectors/blobs/*.py")


def _decoded(block: CodeBlock) -> Event | Rejection:
    key = json.loads(block.text)["doc_id"].encode()
    return decode(Record("rag.documents", 0, 0, NOW_MS, key, block.text.encode()), INDEXES)


@pytest.mark.parametrize("block", EXAMPLES, ids=lambda block: f"line {block.line}")
def test_examples_are_what_they_are_said_to_be(block: CodeBlock) -> None:
    """Each example is an event, or is rejected for the reason beside it."""
    decoded = _decoded(block)
    assert (decoded.reason if isinstance(decoded, Rejection) else None) == block.words.get("rejected")


@pytest.mark.parametrize(
    "block", [one for one in EXAMPLES if "rejected" not in one.words], ids=lambda block: f"line {block.line}"
)
def test_examples_fit_the_json_schema(block: CodeBlock) -> None:
    """Whoever checks messages against the published schema before sending comes to the same verdict."""
    validator = jsonschema.Draft202012Validator(json_schema(DocumentChange), format_checker=jsonschema.FormatChecker())
    validator.validate(json.loads(block.text))


def test_every_op_and_kind_of_content_has_an_example() -> None:
    """Upsert, delete, access; text, base64, uri."""
    values = [json.loads(block.text) for block in EXAMPLES]
    assert {"upsert", "delete", "access"} <= {value["op"] for value in values}
    assert {"text", "base64", "uri"} <= {kind for value in values for kind in value.get("content", ())}


def test_null_deletes() -> None:
    """What the page says of null values and their headers."""
    record = Record("rag.documents", 0, 0, NOW_MS, b"T-1842", None, (("rag-index", b"tickets"), ("rag-version", b"8")))
    event = decode(record, INDEXES)
    assert isinstance(event, Event)
    assert (event.change.op, event.key, event.version) == ("delete", ("tickets", "T-1842"), 8)


def test_every_field_is_in_the_table() -> None:
    """The table has a row for each field, in the model's order or another."""
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.split("## Fields")[1].split("### Content")[0], re.MULTILINE)
    assert sorted(rows) == sorted(DocumentChange.model_fields)


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("1 to {} characters, no control", wire.MAX_DOC_ID_LENGTH),
        ("0 to {} |", wire.MAX_VERSION),
        ("one line, up to {} characters | first heading", documents.MAX_TITLE_LENGTH),
        ("one line, up to {} characters | none", documents.MAX_URI_LENGTH),
        ("list of principals, up to {} ", acl.MAX_ALLOW_LIST),
        ("and {:.0f} KiB together", acl.MAX_ACL_BYTES / 1024),
        ("whole number, 1 to {} ", documents.MAX_TTL_SECONDS),
        ("up to {} names with a value each", documents.MAX_METADATA_KEYS),
        ("text on one line up to {} characters", documents.MAX_METADATA_STRING),
        ("list of up\n  to {} such texts", documents.MAX_METADATA_LIST),
        ("more than {:.0f} s ahead", IndexSettings().max_future_skew_s),
        ("message on Kafka | {:.0f} MiB", KafkaSettings().max_message_bytes / MIB),
        ("without Kafka) | {:.0f} MiB", MAX_EVENT_BYTES / MIB),
        ("behind a `uri` | {} MiB", BlobSettings().max_mib),
        ("behind a `uri` | {} MiB", ParsingSettings().max_input_mib),
        ("of a document | {:,} characters", ParsingSettings().max_output_chars),
    ],
)
def test_limits_are_those_of_the_code(said: str, value: float) -> None:
    """A limit that changes is changed on the page, too."""
    assert said.format(value) in PAGE


def test_what_an_index_can_set_is_listed_with_its_default() -> None:
    """In the section that tells how to add one, under both of its names."""
    section = PAGE.split("## Adding an index")[1].split("\n## ")[0]
    rows = re.findall(r'^\| `(\w+)`, `"(\w+)"` \|\s*`?(\w*)`?\s*\|', section, re.MULTILINE)
    defaults = {name: str(value).removesuffix(".0") for name, value in IndexSettings().model_dump().items()}
    assert sorted(rows) == sorted((name.upper(), name, default) for name, default in defaults.items())


def test_the_indexes_that_it_adds_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines for a shell, read by one."""
    section = PAGE.split("## Adding an index")[1].split("\n## ")[0]
    script = section.split("```sh\n")[1].split("```")[0] + "env -0"
    shell = subprocess.run(["/bin/sh", "-c", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True)
    for line in shell.stdout.decode().split("\0"):
        if line.startswith("RAG_"):
            monkeypatch.setenv(*line.split("=", 1))
    indexes = load_settings().indexes
    assert set(indexes) == {"docs", "tickets", "team-hr", "team-it"}
    assert (indexes["tickets"].versions, indexes["team-hr"].missing_acl) == ("producer", "everyone")


def test_every_header_of_a_dead_letter_is_explained() -> None:
    """And none that doesn't exist."""
    table = PAGE.split("## What became of my message")[1]
    assert set(re.findall(r"`(rag-[a-z-]+)`", table)) - {"rag-dead-letters"} == set(DEAD_LETTER_HEADERS)


def test_every_reason_is_explained() -> None:
    """The codes in the table are those that the code can give, found in its source."""
    table = PAGE.split("## What is rejected")[1].split("```")[0]
    codes = {code for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", row)}
    paths = [path for pattern in REASON_SOURCES for path in ROOT.glob(pattern)]
    assert codes == {reason for path in paths for reason in reasons(path)}


def reasons(path: Path) -> Iterator[str]:
    """First arguments of Rejected, of its subclasses and of helpers named for it, traced to the texts they can be."""
    module = ast.parse(path.read_text())
    scopes = [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef)]
    for scope in scopes:
        for call in ast.walk(scope):
            if isinstance(call, ast.Call) and call.args and _name(call.func).lower().endswith("rejected"):
                yield from _texts(call.args[0], scope, module)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")


def _texts(node: ast.expr, scope: ast.FunctionDef, module: ast.Module) -> Iterator[str]:
    """The texts that an expression can be; nothing for what comes from elsewhere."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for source, owner in _sources(node, scope, module):
        yield from _texts(source, owner, module)


def _sources(  # noqa: PLR0911  one for each kind of expression
    node: ast.expr, scope: ast.FunctionDef, module: ast.Module
) -> list[tuple[ast.expr, ast.FunctionDef]]:
    """The expressions that an expression takes its value from, with the function that each stands in."""
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            return [(body, scope), (orelse, scope)]
        case ast.Starred(value=value) | ast.Tuple(elts=[value, *_]):
            return [(value, scope)]
        case ast.Dict(values=values):
            return [(value, scope) for value in values]
        case ast.Name(id=name):
            return [(value, scope) for value in _assigned(name, scope) or _assigned(name, module)]
        case ast.Call(func=ast.Attribute(value=mapping, attr="get"), args=[_, *default]):
            return [(value, scope) for value in (mapping, *default)]
        case ast.Call(func=ast.Name(id=name)):
            called = [one for one in module.body if isinstance(one, ast.FunctionDef) and one.name == name]
            return [(one.value, of) for of in called for one in ast.walk(of) if isinstance(one, ast.Return) and one.value]
    return []


def _assigned(name: str, scope: ast.AST) -> list[ast.expr]:
    """What is assigned to `name` somewhere in `scope`."""
    found: list[ast.expr] = []
    for node in ast.walk(scope):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        value = getattr(node, "value", None)
        if value is not None and any(_name(target) == name for target in targets):
            found.append(value)
    return found
