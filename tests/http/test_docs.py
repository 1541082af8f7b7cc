from __future__ import annotations

import asyncio
import re

import pytest

from fitai.http.live_page import events, render, type_of
from fitai.http.problems import CATALOGUE

EXTERNAL = re.compile(r"""(?:src|href|url)\s*[=(:]\s*["']?\s*(?:https?:)?//""", re.IGNORECASE)


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("path", ["/docs", "/docs/live", "/docs/errors", "/docs/ui/initializer.js"])
async def test_pages_need_nothing_from_other_hosts(api, prefix, path):
    page = await api.call("GET", prefix + path)

    assert page.status == 200
    assert EXTERNAL.search(page.body) is None
    assert "://" not in page.body.replace("ws://127.0.0.1:8080/socket.io", "")


@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_the_pages_links_lead_to_what_is_there(api, prefix):
    for path in ("/docs", "/docs/live", "/docs/errors"):
        page = await api.client.get(prefix + path)
        for link in re.findall(r'(?:src|href)="([^"#]+)"', await page.text()):
            target = page.url.join(type(page.url)(link))
            response = await api.client.get(target.path)
            assert response.status == 200, link
            assert target.path.startswith(prefix)


async def test_pages_are_held_to_their_own_origin_and_run_no_inline_script(api):
    rest = await api.call("GET", "/docs")
    live = await api.call("GET", "/docs/live")

    for page in (rest, live):
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert "unsafe" not in page.headers["Content-Security-Policy"]
        assert re.search(r"<style| style=| on\w+=", page.body) is None
    assert "script-src 'self';" in rest.headers["Content-Security-Policy"]
    assert "script-src" not in live.headers["Content-Security-Policy"]
    assert "<script" not in live.body
    assert re.findall(r"<script[^>]*>(.*?)</script>", rest.body) == ["", ""]


async def test_swagger_ui_comes_whole_from_the_installed_package(api):
    bundle = await api.call("GET", "/docs/ui/swagger-ui-bundle.js")
    style = await api.call("GET", "/docs/ui/swagger-ui.css")

    assert bundle.headers["Content-Type"].startswith("text/javascript")
    assert "SwaggerUIBundle" in bundle.body
    assert style.headers["Content-Type"].startswith("text/css")
    assert (await api.call("GET", "/docs/ui/swagger-editor-bundle.js")).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/docs/ui/../../app.py",
        "/docs/ui/..%2f..%2fcore.py",
        "/docs/ui/%2e%2e/%2e%2e/core.py",
        "/docs/ui/..%5c..%5ccore.py",
        "/docs/ui/%252e%252e%252fcore.py",
        "/docs/ui//etc/passwd",
        "/docs/ui/swagger-ui.css/../../core.py",
        "/docs/ui/swagger-ui.css%00.py",
        "/docs/ui/",
        "/docs/ui",
        "/.git/config",
        "/.env",
        "/../data/secret.key",
    ],
)
async def test_no_path_leads_out_of_what_is_served(api, path):
    reader, writer = await asyncio.open_connection("127.0.0.1", api.client.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b'"code":"not_found"' in answer


async def test_the_documents_are_served_as_json(api):
    openapi = await api.call("GET", "/openapi.json")
    asyncapi = await api.call("GET", "/v1/asyncapi.json")

    assert openapi.body["openapi"] == "3.1.0"
    assert openapi.body["info"]["version"] == "1.2.3"
    assert asyncapi.body["channels"]["live"]["address"] == "/live"


async def test_every_code_has_its_place_on_the_page_of_errors_and_problems_lead_there(api):
    page = (await api.call("GET", "/docs/errors")).body
    problem = await api.call("GET", "/nowhere")

    assert problem.body["type"] == "/docs/errors#not_found"
    assert re.findall(r'<section class="card" id="(\w+)">', page) == sorted(
        CATALOGUE, key=lambda code: CATALOGUE[code].status
    )
    assert "<code>PUT /workouts/{id}</code>" in page


async def test_a_problem_names_the_site_when_it_is_known(make_api):
    api = await make_api(public_url="https://fit.example.com")
    problem = await api.call("GET", "/nowhere")

    assert problem.body["type"] == "https://fit.example.com/docs/errors#not_found"


async def test_the_live_page_tells_events_payloads_and_examples(api):
    page = (await api.call("GET", "/docs/live")).body

    assert "client → server" in page
    assert "Ops of &lt;this&gt; device" in page
    assert "Events &lt;b&gt;both&lt;/b&gt; ways." in page
    assert "workout.start" in page
    assert "The device&#39;s counter." in page
    assert "<code>pushed</code>" in page


def test_events_follow_references_and_stop_at_a_schema_inside_itself(asyncapi_document):
    push, pushed = events(asyncapi_document)

    assert (push.name, push.ways, push.reply) == ("push", ["client → server"], "pushed")
    assert [(row.name, row.depth, row.type, row.required) for row in push.fields] == [
        ("ops", 0, "list of Op", True),
        ("n", 1, "integer", True),
        ("inner", 1, "Op", False),
        ("epoch", 0, "string or null", False),
    ]
    assert (pushed.ways, pushed.fields, pushed.examples) == (["answer"], [], [])


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer"}, "integer"),
        ({"enum": ["kg", "lb"]}, '"kg" or "lb"'),
        ({"const": True}, "true"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": "array"}, "list"),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}]}, "[integer, integer]"),
        ({"type": "object"}, "object"),
        ({"type": "object", "title": "Load"}, "Load"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "string"),
        ({"$ref": "#/nowhere"}, "any"),
        ({}, "any"),
    ],
)
def test_a_type_is_told_in_a_few_words(schema, words):
    assert type_of({}, schema) == words


def test_a_reference_to_itself_ends():
    assert type_of({"a": {"$ref": "#/a"}}, {"$ref": "#/a"}) == "any"


def test_an_empty_document_still_gives_a_page():
    assert "<h1>Live</h1>" in render({}, document="x.json", style="x.css")
