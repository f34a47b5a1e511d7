"""A real endpoint tells which models it has."""

from __future__ import annotations

import asyncio

from connectors.llm import Endpoint, has_model, listed_models
from tests.contract.connectors.llm.conftest import needs_local

pytestmark = needs_local


def test_llama_cpp_lists_what_it_serves(local_endpoint: Endpoint) -> None:
    """Under the name that it is asked by."""
    listed = asyncio.run(listed_models(local_endpoint, 10.0))
    assert listed is not None
    assert has_model(listed, local_endpoint.model)
    assert not has_model(listed, "another")
