"""Looks at everything ragstream needs, and says of each what is wrong and what to do. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator

from ragstream.doctor.files import check_api_keys, check_prompt, check_routes, check_token_issuer
from ragstream.doctor.finding import Finding
from ragstream.doctor.installation import check_installation, check_python
from ragstream.doctor.machine import check_data_dir, check_model, check_settings
from ragstream.doctor.models import check_language_model, check_reranker
from ragstream.doctor.servers import check_kafka, check_milvus, check_redis, found_reach
from schemas.settings import Settings

__all__ = ["Finding", "examine"]


def examine(settings: Settings) -> Iterator[Finding]:
    """Every finding, good ones too, as it is made. Takes seconds: models are loaded; ten more for a server that hangs."""
    yield from check_settings(settings, os.environ)
    yield check_python()
    yield from check_installation()
    reach = found_reach(settings)
    settings = reach.settings if reach is not None else settings
    yield check_data_dir(settings.data_dir)
    model = check_model(settings)
    yield model.finding
    yield from check_kafka(reach)
    yield from check_milvus(settings, model.dimension)
    yield from check_redis(settings)
    yield from check_reranker(settings)
    yield from check_language_model(settings)
    yield from check_prompt(settings)
    yield from check_routes(settings)
    yield from check_api_keys(settings)
    yield from check_token_issuer(settings)
