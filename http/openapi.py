"""The OpenAPI 3.1 document, generated from the declared routes and from nothing else.

OpenAPI 3.1 speaks JSON Schema 2020-12, which is what pydantic writes, so the models go in as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from fitai.http import media
from fitai.http.frame import Route
from fitai.http.problems import CATALOGUE, CONTENT_TYPE, type_of

_SCHEMES = {
    "access_token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "What a signed-in device has: it may do all that its person may.",
    },
    "personal_token": {
        "type": "http",
        "scheme": "bearer",
        "description": "What a person has made for an integration. It may do what its scopes say, and nothing"
        " that names no scope.",
    },
}

_TAGS = r'^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$'

_REF = "#/components/schemas/{model}"

Keyed = tuple[type[BaseModel], JsonSchemaMode]


class InvalidField(BaseModel):
    """One field that is not valid."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    location: str = Field(alias="in", examples=["body"])
    field: str = Field(examples=["device.name"])
    code: str = Field(examples=["missing"])
    reason: str = Field(examples=["Field required"])


class ProblemDocument(BaseModel):
    """An error by RFC 9457. `code` never changes and is for programs; some codes add members."""

    model_config = ConfigDict(extra="allow", title="Problem")

    type: str = Field(examples=[type_of("not_found")])
    title: str
    status: int
    code: str
    request_id: str
    detail: str | None = None
    errors: list[InvalidField] | None = Field(None, description="With `validation_failed`.")


def document(
    routes: Iterable[Route], *, version: str, description: str, tags: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """The whole document; `tags` are (name, description) in the order in which they are shown."""
    routes = list(routes)
    references, definitions = models_json_schema(_models(routes), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {"title": "FitAI", "version": version, "description": description},
        "servers": [{"url": "/", "description": "As written"}, {"url": "/v1", "description": "Versioned"}],
        "tags": [{"name": name, "description": text} for name, text in tags],
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": _SCHEMES,
            "headers": {
                "X-Request-Id": {
                    "description": "Names this request in the server's log.",
                    "schema": {"type": "string"},
                },
                "ETag": {
                    "description": "The workout's revision in quotes, for If-Match and If-None-Match.",
                    "schema": {"type": "string", "examples": ['"17"']},
                },
            },
        },
    }


def _models(routes: Sequence[Route]) -> list[Keyed]:
    """Every model once per use: what is read is described as accepted, what is written as sent."""
    found: dict[Keyed, None] = {(ProblemDocument, "serialization"): None}
    for route in routes:
        for model in (route.path_model, route.query_model, route.body_model):
            if model is not None:
                found[model, "validation"] = None
        if route.response is not None:
            found[route.response, "serialization"] = None
    # Parameters are written out one by one, so their models need no definition of their own.
    parameters = {model for route in routes for model in (route.path_model, route.query_model)}
    return [key for key in found if key[0] not in parameters]


def _operation(route: Route, references: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": _parameters(route),
        "responses": _responses(route, references),
    }
    if route.description:
        operation["description"] = route.description
    if route.deprecated is not None:
        operation["deprecated"] = True
    if "caller" in route.takes:
        operation["security"] = _security(route)
    if route.body_model is not None:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in route.body_model.model_fields.values()),
            "content": _content(route, references[route.body_model, "validation"]),
        }
    return operation


def _security(route: Route) -> list[dict[str, list[str]]]:
    """The ways in, each of which is enough, with the scope that a personal token needs."""
    ways: list[dict[str, list[str]]] = [{"access_token": []}]
    if route.scope is not None:
        ways.append({"personal_token": [route.scope]})
    return [*ways, {}] if route.caller_optional else ways


def _content(route: Route, schema: Any) -> dict[str, Any]:
    kinds = (media.JSON, media.MSGPACK) if route.wire else (media.JSON,)
    return {kind: {"schema": schema} for kind in kinds}


def _parameters(route: Route) -> list[dict[str, Any]]:
    found = [*_fields(route.path_model, "path"), *_fields(route.query_model, "query")]
    if "if_match" in route.takes:
        found.append(
            {
                "name": "If-Match",
                "in": "header",
                "required": True,
                "description": "The ETag of the state that this change was decided on, or `*`.",
                "schema": {"type": "string", "pattern": _TAGS, "examples": ['"17"']},
            }
        )
    if "payload" in route.takes:
        found.append(
            {
                "name": "Content-Encoding",
                "in": "header",
                "required": False,
                "description": "How the body is compressed; inflated it has the same bound.",
                "schema": {"type": "string", "enum": ["gzip", "deflate", "zstd"]},
            }
        )
    if "key" in route.takes:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "Makes a retry safe: the same request with the same key is done once.",
                "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
            }
        )
    return found


def _fields(model: type[BaseModel] | None, where: str) -> list[dict[str, Any]]:
    """One parameter per field of a path or query model."""
    if model is None:
        return []
    schema = model.model_json_schema()
    required = set(schema.get("required", ()))
    found = []
    for name, field in schema["properties"].items():
        field = {key: value for key, value in field.items() if key not in ("title", "default")}
        parameter = {"name": name, "in": where, "required": where == "path" or name in required}
        if "description" in field:
            parameter["description"] = field.pop("description")
        found.append({**parameter, "schema": _without_null(field)})
    return found


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """A parameter that is not given is absent, never null."""
    options = [option for option in field.get("anyOf", ()) if option != {"type": "null"}]
    if len(options) != 1:
        return field
    return {**options[0], **{key: value for key, value in field.items() if key != "anyOf"}}


def _responses(route: Route, references: Mapping[Any, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {
        "description": HTTPStatus(route.status).phrase,
        "headers": {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}},
    }
    if route.response_etag:
        success["headers"]["ETag"] = {"$ref": "#/components/headers/ETag"}
    if route.response is not None or route.also:
        success["content"] = {}
    if route.response is not None:
        success["content"] |= _content(route, references[route.response, "serialization"])
    if route.also:
        success["content"] |= {kind: {"schema": {"type": "string"}} for kind in route.also}
    responses = {str(route.status): success}
    if route.response_etag and route.method == "GET":
        responses["304"] = {"description": "Unchanged since the ETag of `If-None-Match`."}
    responses |= _problems(route, references[ProblemDocument, "serialization"])
    return responses


def _problems(route: Route, schema: dict[str, Any]) -> dict[str, Any]:
    """The documented errors, those of one status together, with an example of each code."""
    by_status: dict[int, list[str]] = {}
    for code in route.errors:
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    return {
        str(status): {
            "description": "\n".join(
                f"- `{code}`: {CATALOGUE[code].title}. {CATALOGUE[code].advice}" for code in codes
            ),
            "content": {
                CONTENT_TYPE: {
                    "schema": schema,
                    "examples": {code: {"value": _example(code)} for code in codes},
                }
            },
        }
        for status, codes in sorted(by_status.items())
    }


def _example(code: str) -> dict[str, Any]:
    kind = CATALOGUE[code]
    return {
        "type": type_of(code),
        "title": kind.title,
        "status": kind.status,
        "code": code,
        "request_id": "5f0c2b8e6d3a4c1f9b7e2d1a0c9f8e7d",
    }
