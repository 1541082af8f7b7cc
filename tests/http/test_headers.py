"""Every answer of every kind carries the same protection."""

from __future__ import annotations

import asyncio
import re
from ipaddress import ip_network

import aiohttp
import pytest
from sqlalchemy import text

from fitai.http.app import ROUTES
from fitai.http.headers import HSTS, SECURITY_HEADERS
from fitai.http.metrics import open_application
from tests.http.conftest import Served

SOCKET = "/socket.io/?EIO=4"
W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"


def assert_protected(
    headers, *, page: bool = False, form: bool = False, kept: bool = False, public: bool = False
) -> None:
    """`page`: may load from its own origin, and with `form` send there; `kept`: may be stored, and asked for
    again; `public`: may be kept by anybody for a while."""
    said = {name: headers.get(name) for name in SECURITY_HEADERS}
    policy = said.pop("Content-Security-Policy") or ""
    keeping = ("no-cache", "private, no-cache") if kept else ("no-store",)
    assert said.pop("Cache-Control") in (("public, max-age=300",) if public else keeping)
    assert said == {name: SECURITY_HEADERS[name] for name in said}
    for directive in (
        "default-src 'none'",
        "base-uri 'none'",
        f"form-action '{'self' if form else 'none'}'",
        "frame-ancestors 'none'",
    ):
        assert directive in policy
    assert "unsafe" not in policy
    assert page or "'self'" not in policy
    assert headers.get("Server") == "FitAI"


async def raw(port: int, request: bytes) -> dict[str, str]:
    """Send bytes, read the answer's headers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    writer.close()
    await writer.wait_closed()
    return dict(re.findall(r"^([\w-]+): (.*)\r$", head.decode(), re.M))


async def test_every_route_is_protected_with_and_without_a_caller(api, ada):
    for route in ROUTES:
        path = re.sub(r"\{\w+\}", W, route.path)
        for token in (None, ada.token):
            answer = await api.call(route.method, path, {} if route.body_model else None, token=token)
            public = route.path == "/.well-known/jwks.json"
            page = answer.headers.get("Content-Type", "").startswith("text/html")
            kept = "ETag" in answer.headers
            assert_protected(answer.headers, page=page, form=page, kept=kept, public=public)


@pytest.mark.parametrize("path", ["/docs", "/v1/docs", "/docs/live", "/v1/docs/live"])
async def test_pages_are_protected_and_load_from_their_own_origin_alone(api, path):
    answer = await api.call("GET", path)

    assert answer.status == 200
    assert_protected(answer.headers, page=True, kept=True)


@pytest.mark.parametrize(
    "path",
    [
        "/openapi.json",
        "/asyncapi.json",
        "/docs/ui/swagger-ui-bundle.js",
        "/docs/ui/swagger-ui.css",
        "/docs/ui/favicon-32x32.png",
        "/docs/ui/live.css",
        "/docs/ui/initializer.js",
    ],
)
async def test_documents_and_assets_are_protected_also_when_they_have_not_changed(api, path):
    fresh = await api.client.get(path)
    known = fresh.headers.get("ETag", '"none"')
    again = await api.client.get(path, headers={"If-None-Match": known})

    assert (fresh.status, again.status) == (200, 304 if "ETag" in fresh.headers else 200)
    for answer in (fresh, again):
        assert_protected(answer.headers, kept=True)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("DELETE", "/docs", 405),
        ("OPTIONS", "/workouts", 405),
        ("GET", "/metrics", 404),
    ],
)
async def test_refusals_of_the_router_are_protected(api, method, path, status):
    answer = await api.call(method, path)

    assert answer.status == status
    assert_protected(answer.headers)


async def test_a_failure_of_ours_is_protected(api, ada):
    async with api.db.write() as session:
        await session.execute(text("ALTER TABLE devices RENAME TO elsewhere"))

    broken = await ada.call("GET", "/auth/devices")

    assert broken.status == 500
    assert_protected(broken.headers)


async def test_what_is_no_http_is_answered_as_a_problem_and_protected(api):
    headers = await raw(api.client.port, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")

    assert headers["Content-Type"] == "application/problem+json"
    assert headers["X-Request-Id"]
    assert_protected(headers)


async def test_metrics_are_protected_on_both_ports(make_api):
    async def report() -> bytes:
        return b"fitai_up 1\n"

    api = await make_api(report=report, metrics_token="a token for metrics")
    for token, status in (("a token for metrics", 200), ("another", 401)):
        answer = await api.call("GET", "/metrics", Authorization=f"Bearer {token}")
        assert answer.status == status
        assert_protected(answer.headers)

    server = Served(open_application(report))
    await server.start_server()
    async with aiohttp.ClientSession() as http, http.get(server.make_url("/metrics")) as answer:
        assert answer.status == 200
        assert_protected(answer.headers)
    await server.close()


async def test_sockets_are_protected_from_the_handshake_on(make_api):
    api = await make_api(live=True, allowed_origins=["https://app.example.com"])

    polling = await api.call("GET", f"{SOCKET}&transport=polling")
    sent = await api.client.post(f"{SOCKET}&transport=polling&sid=none", data=b"2")
    foreign = await api.call("GET", f"{SOCKET}&transport=polling", Origin="https://evil.example.com")
    async with api.client.ws_connect(f"{SOCKET}&transport=websocket") as socket:
        upgraded = socket._response.headers

    assert (polling.status, sent.status, foreign.status) == (200, 400, 403)
    for headers in (polling.headers, sent.headers, foreign.headers, upgraded):
        assert_protected(headers)


# -- TLS -------------------------------------------------------------------------------------------


async def test_without_tls_no_browser_is_told_to_insist_on_it(api):
    told = await api.call("GET", "/health/live", X_Forwarded_Proto="https")

    assert "Strict-Transport-Security" not in told.headers, "anybody can send that header"


async def test_a_server_that_is_public_by_https_tells_browsers_to_come_by_it_alone(make_api):
    api = await make_api(public_url="https://fit.example.com", live=True)

    found = await api.call("GET", "/health/live")
    absent = await api.call("GET", "/nowhere")
    polling = await api.call("GET", f"{SOCKET}&transport=polling")
    unreadable = await raw(api.client.port, b"GET / HTTP/1.1\r\nHost : x\r\n\r\n")

    for headers in (found.headers, absent.headers, polling.headers, unreadable):
        assert headers["Strict-Transport-Security"] == HSTS
    assert int(re.findall(r"max-age=(\d+)", HSTS)[0]) >= 365 * 86_400


@pytest.mark.parametrize(
    ("told", "secure"),
    [
        ("https", True),
        ("http", False),
        ("HTTPS", True),
        ("https, http", False),
        ("http, https", True),
        ("", False),
    ],
)
async def test_a_trusted_proxy_is_believed_about_tls(make_api, told, secure):
    api = await make_api(trusted_proxies=(ip_network("127.0.0.0/8"),))

    answer = await api.call("GET", "/health/live", X_Forwarded_Proto=told, X_Forwarded_For="203.0.113.5")

    assert ("Strict-Transport-Security" in answer.headers) == secure
