"""Settings as people see them: complete, masked, and spelt right."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from ragstream.configuration import MASK, masked, unknown_variables, values, variables
from schemas.settings import IndexSettings, Settings, load_settings

SECRET = "hunter2"


def test_every_variable_is_one_that_settings_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default, given under the variable's name, is taken where it stands in the tree."""
    for variable in variables():
        if variable.default:
            monkeypatch.setenv(variable.name.replace("<name>", "docs"), variable.default)
    assert load_settings() == Settings()


def test_no_secret_is_ever_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that are secrets nor passwords in addresses."""
    for variable in variables():
        if variable.is_secret:
            monkeypatch.setenv(variable.name, SECRET)
    monkeypatch.setenv("RAG_MILVUS__URI", f"https://root:{SECRET}@milvus:19530")
    shown = {value.variable.name: value for value in values(load_settings())}
    assert not [name for name, value in shown.items() if SECRET in value.shown]
    assert shown["RAG_KAFKA__SASL_PASSWORD"].shown == MASK
    assert not shown["RAG_KAFKA__SASL_PASSWORD"].is_default
    assert shown["RAG_MILVUS__URI"].shown == f"https://root:{MASK}@milvus:19530"


def test_every_secret_of_the_tree_is_known_as_one() -> None:
    """By its type, wherever it stands."""
    names = {variable.name for variable in variables() if variable.is_secret}
    assert {"RAG_KAFKA__SASL_PASSWORD", "RAG_MILVUS__TOKEN", "RAG_REDIS__URL", "RAG_KAFKA__OAUTH_CLIENT_SECRET"} <= names


def test_defaults_are_marked_and_indexes_named() -> None:
    """Each index has settings of its own."""
    settings = Settings(indexes={"hr": IndexSettings(versions="producer")}, redis={"url": SecretStr("redis://x")})
    found = {value.variable.name: value for value in values(settings)}
    assert found["RAG_INDEXES__hr__VERSIONS"].shown == "producer"
    assert not found["RAG_INDEXES__hr__VERSIONS"].is_default
    assert found["RAG_INDEXES__docs__VERSIONS"].is_default
    assert found["RAG_GENERATION"].is_default


def test_misspelt_variables_are_found_with_the_right_name() -> None:
    """Known ones, sections as JSON, indexes, and those of the tests are not."""
    environ = dict.fromkeys(
        (
            "RAG_DATA_DIRS",
            "RAG_KAFKA__PARTITIONS",
            "rag_generation",
            "RAG_KAFKA",
            "RAG_INDEXES__hr__VERSIONS",
            "RAG_TEST_KAFKA",
            "PATH",
        ),
        "",
    )
    assert unknown_variables(environ) == {"RAG_DATA_DIRS": "RAG_DATA_DIR"}


def test_masking_leaves_addresses_without_passwords_alone() -> None:
    """Hosts and ports stay readable."""
    assert masked("http://host:19530") == "http://host:19530"
