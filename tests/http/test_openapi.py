from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field

from fitai.engine.groups.formats import Format
from fitai.http.app import ROUTES, openapi_document
from fitai.http.groups.routes import ACTS
from fitai.http.problems import CATALOGUE

ISSUE = """
POST /auth/register
POST /auth/login
POST /auth/refresh
POST /auth/logout
GET /auth/devices
PATCH /auth/devices/{id}
DELETE /auth/devices/{id}
POST /auth/devices
POST /sync/push
GET /sync/pull
GET /sync/snapshot
GET /sync/void
GET /workouts
POST /workouts
GET /workouts/{id}
PUT /workouts/{id}
DELETE /workouts/{id}
POST /workouts/{id}/start
POST /workouts/{id}/pause
POST /workouts/{id}/resume
POST /workouts/{id}/rest
POST /workouts/{id}/complete
PUT /workouts/{id}/exercise/{exerciseIndex}
PUT /workouts/{id}/set/{setIndex}
POST /workouts/{id}/share
GET /workouts/shared
POST /groups
GET /groups
GET /groups/{id}
POST /groups/{id}/join
POST /groups/{id}/leave
POST /groups/{id}/start
POST /groups/{id}/cancel
GET /groups/{id}/results
GET /health
GET /health/live
GET /health/ready
"""


class Strict(BaseModel):
    """OpenAPI 3.1 objects, as far as we use them: an unknown member is a mistake."""

    model_config = ConfigDict(extra="forbid")


class Reference(Strict):
    ref: str = Field(alias="$ref", pattern="^#/components/")


class Media(Strict):
    schema_: dict[str, Any] = Field(alias="schema")
    examples: dict[str, dict[str, Any]] | None = None


class Response(Strict):
    description: str = Field(min_length=1)
    headers: dict[str, Reference] | None = None
    content: dict[str, Media] | None = None


class Parameter(Strict):
    name: str
    in_: Literal["path", "query", "header"] = Field(alias="in")
    required: bool
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None


class RequestBody(Strict):
    required: bool
    content: dict[Literal["application/json", "application/msgpack"], Media]


class Operation(Strict):
    operationId: str
    tags: list[str] = Field(min_length=1, max_length=1)
    summary: str = Field(min_length=1)
    description: str | None = None
    parameters: list[Parameter]
    requestBody: RequestBody | None = None
    responses: dict[str, Response]
    security: list[dict[Literal["access_token", "personal_token"], list[str]]] | None = None


class Described(Strict):
    name: str | None = None
    url: str | None = None
    description: str


class Info(Strict):
    title: str
    version: str
    description: str


class OpenApi(Strict):
    openapi: Literal["3.1.0"]
    info: Info
    servers: list[Described]
    tags: list[Described]
    paths: dict[str, dict[Literal["get", "post", "put", "patch", "delete"], Operation]]
    components: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document("1.2.3")


def nodes(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a document."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from nodes(item)


def test_the_document_has_the_shape_of_openapi_3_1(document):
    parsed = OpenApi.model_validate(document)

    tags = {tag.name for tag in parsed.tags}
    ids = [operation.operationId for path in parsed.paths.values() for operation in path.values()]
    assert len(ids) == len(set(ids)) == len(ROUTES)
    for path, operations in parsed.paths.items():
        for operation in operations.values():
            assert set(operation.tags) <= tags
            inside = {parameter.name for parameter in operation.parameters if parameter.in_ == "path"}
            assert inside == {part[1:-1] for part in path.split("/") if part.startswith("{")}
            assert all(parameter.required for parameter in operation.parameters if parameter.in_ == "path")


def test_every_reference_leads_somewhere(document):
    for node in nodes(document):
        reference = node.get("$ref")
        if isinstance(reference, str):
            target: Any = document
            for part in reference.removeprefix("#/").split("/"):
                target = target[part]
            assert target


def test_bounds_are_told_in_the_words_of_json_schema(document):
    ours = {"ge", "gt", "le", "lt", "min_length", "max_length", "multiple_of"}
    found = [node for node in nodes(document["components"]["schemas"]) if ours & node.keys()]
    assert not found
    assert document["components"]["schemas"]["SetWrite"]["properties"]["reps"]["anyOf"][0]["maximum"] == 5000


def test_every_schema_is_used(document):
    used = {node["$ref"].rpartition("/")[2] for node in nodes(document) if isinstance(node.get("$ref"), str)}

    assert set(document["components"]["schemas"]) <= used


@pytest.mark.parametrize("route", ISSUE.split("\n")[1:-1])
def test_the_promised_routes_are_there(document, route):
    method, path = route.split()

    assert method.lower() in document["paths"][path]


async def test_every_served_route_is_in_the_document_and_has_its_v1_twin(api, document):
    served = {
        (route.method, route.resource.canonical)
        for route in api.client.app.router.routes()
        if route.resource is not None and route.method not in ("HEAD", "*")
    }
    documents = {
        path for _, path in served if path.partition("/v1")[2] and path.removeprefix("/v1")[:5] == "/docs"
    }
    documents |= {"/openapi.json", "/asyncapi.json"}
    described = {
        (method.upper(), path) for path, operations in document["paths"].items() for method in operations
    }

    plain = {(method, path) for method, path in served if not path.startswith("/v1")}
    assert {(method, f"/v1{path}") for method, path in plain} == served - plain
    assert {
        (method, path) for method, path in plain if not path.startswith("/docs") and path not in documents
    } == described


async def test_a_path_beside_a_template_refuses_the_methods_that_it_lacks(api):
    for prefix in ("", "/v1"):
        answer = await api.client.put(f"{prefix}/workouts/shared")
        assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD")


def test_routes_with_a_caller_say_that_they_need_a_token(document):
    def security(method: str, path: str) -> Any:
        return document["paths"][path][method].get("security")

    assert security("get", "/workouts") == [{"access_token": []}, {"personal_token": ["workouts:read"]}]
    assert security("get", "/auth/devices") == [{"access_token": []}]
    assert security("get", "/workouts/shared/{share}") is None
    assert security("post", "/auth/logout") == [{"access_token": []}, {}]
    assert "401" not in document["paths"]["/health"]["get"]["responses"]


def test_a_groups_format_is_told_by_its_type(document):
    formats = document["components"]["schemas"]["GroupCreate"]["properties"]["format"]

    assert formats["discriminator"]["propertyName"] == "type"
    assert set(formats["discriminator"]["mapping"]) == {
        struct.__struct_config__.tag for struct in get_args(Format)
    }


def test_every_act_of_a_group_has_a_body_of_its_own(document):
    def body(act: str) -> str:
        content = document["paths"][f"/groups/{{id}}/{act}"]["post"]["requestBody"]["content"]
        return str(content["application/json"]["schema"]["$ref"]).rpartition("/")[2]

    assert {act.name: body(act.name) for act in ACTS} == {act.name: act.body.__name__ for act in ACTS}


def test_moderation_is_for_people_with_no_token_of_theirs(document):
    for path, method in (("/moderation/reports", "get"), ("/moderation/reports/{id}", "post")):
        assert document["paths"][path][method]["security"] == [{"access_token": []}]


def test_errors_are_described_by_their_codes(document):
    responses = document["paths"]["/workouts/{id}"]["put"]["responses"]

    assert set(responses) == {
        "200",
        "400",
        "401",
        "403",
        "404",
        "408",
        "412",
        "413",
        "415",
        "422",
        "428",
        "429",
        "503",
    }
    assert "`precondition_failed`" in responses["412"]["description"]
    content = responses["412"]["content"]["application/problem+json"]
    assert content["schema"] == {"$ref": "#/components/schemas/ProblemDocument"}
    assert content["examples"]["precondition_failed"]["value"]["status"] == 412


def test_conditions_and_keys_are_parameters(document):
    edit = document["paths"]["/workouts/{id}"]["put"]
    start = document["paths"]["/workouts/{id}/start"]["post"]

    assert {(p["name"], p["required"]) for p in edit["parameters"] if p["in"] == "header"} == {
        ("If-Match", True),
        ("Idempotency-Key", False),
    }
    assert [p["name"] for p in start["parameters"] if p["in"] == "header"] == ["Idempotency-Key"]
    assert "ETag" in edit["responses"]["200"]["headers"]
    assert start["requestBody"]["required"] is False


def test_query_parameters_have_their_names_and_bounds(document):
    parameters = {p["name"]: p for p in document["paths"]["/workouts"]["get"]["parameters"]}

    assert set(parameters) == {"status", "from", "to", "exercise", "cursor", "limit"}
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100}
    assert parameters["status"]["schema"]["enum"] == ["planned", "active", "paused", "completed", "abandoned"]
    assert not any(parameter["required"] for parameter in parameters.values())


def test_every_code_of_the_catalogue_that_a_route_documents_exists():
    for route in ROUTES:
        assert set(route.errors) <= set(CATALOGUE)
