"""The OpenAPI description: bodies are read by us, so they are described by us too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from query_api.http.problems import MEDIA_TYPE

_REF: Final = "#/components/schemas/{model}"
SECURITY: Final[list[dict[str, list[str]]]] = [{}, {"bearer": []}]


def body_of(*models: type[BaseModel]) -> dict[str, Any]:
    """`openapi_extra` of a route that takes one of `models`."""
    refs = [{"$ref": _REF.format(model=model.__name__)} for model in models]
    schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}, "security": SECURITY}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses` of a route that may answer with these."""
    schema = {"$ref": _REF.format(model="Problem")}
    return {status: {"description": "A problem", "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def describe_with(app: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
    """Have `app.openapi` know the models of all bodies."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0"
            )
            _, definitions = models_json_schema([(model, "validation") for model in bodies], ref_template=_REF)
            components = described.setdefault("components", {})
            components["schemas"] = {**components.get("schemas", {}), **definitions.get("$defs", {})}
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (rsk_…) or a signed token (JWT)."}
            }
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
