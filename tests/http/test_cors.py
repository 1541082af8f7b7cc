from __future__ import annotations

import aiohttp
import pytest

from tests.gateways.test_origins import STRANGERS

APP = "https://app.example.com"
PREFLIGHT = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "if-match"}
SOCKET = "/socket.io/?EIO=4"
SENDABLE = [origin for origin in STRANGERS if origin.isascii() and origin == origin.strip()]


def shared(answer) -> set[str]:
    """The headers by which a browser lets a page read an answer."""
    return {name for name in answer.headers if name.startswith("Access-Control-")}


async def test_without_a_setting_other_origins_get_no_permission(api):
    answer = await api.call("GET", "/health/live", Origin=APP)
    preflight = await api.call("OPTIONS", "/workouts", Origin=APP, **PREFLIGHT)

    assert shared(answer) == set()
    assert (preflight.status, shared(preflight)) == (405, set())


async def test_an_allowed_origin_may_call_and_see_our_headers(make_api):
    api = await make_api(allowed_origins=[APP])

    answer = await api.call("GET", "/workouts", Origin=APP)
    preflight = await api.call("OPTIONS", "/v1/workouts", Origin=APP, **PREFLIGHT)

    assert answer.headers["Access-Control-Allow-Origin"] == APP
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Origin"] == APP
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]


@pytest.mark.parametrize("stranger", SENDABLE)
async def test_what_only_looks_like_an_allowed_origin_gets_no_permission(make_api, stranger):
    api = await make_api(allowed_origins=[APP])

    answer = await api.call("GET", "/workouts", Origin=stranger)
    refused = await api.call("OPTIONS", "/workouts", Origin=stranger, **PREFLIGHT)

    assert shared(answer) == set()
    assert (refused.status, shared(refused)) == (405, set())


async def test_an_origin_that_is_written_otherwise_in_the_settings_is_the_same(make_api):
    api = await make_api(allowed_origins=["https://Bücher.example:443"])

    answer = await api.call("GET", "/health/live", Origin="https://xn--bcher-kva.example")

    assert answer.headers["Access-Control-Allow-Origin"] == "https://xn--bcher-kva.example"


async def test_a_cache_learns_that_answers_depend_on_the_origin_whoever_asks(make_api):
    api = await make_api(allowed_origins=[APP])
    everyone = await make_api(allowed_origins=["*"])

    for headers in ({}, {"Origin": APP}, {"Origin": "https://evil.example.com"}):
        assert "Origin" in (await api.call("GET", "/health/live", **headers)).headers.getall("Vary")
        vary = (await everyone.call("GET", "/health/live", **headers)).headers.getall("Vary", [])
        assert "Origin" not in vary


@pytest.mark.parametrize("origin", ["https://any.example.com", "null"])
async def test_all_origins_may_be_allowed_but_never_with_cookies(make_api, origin):
    api = await make_api(allowed_origins=["*"])

    answer = await api.call("GET", "/health/live", Origin=origin)

    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers


# -- sockets ---------------------------------------------------------------------------------------


async def opens(api, **headers: str) -> bool:
    """Whether a WebSocket opens; one that does not is refused with 403."""
    try:
        async with api.client.ws_connect(f"{SOCKET}&transport=websocket", headers=headers) as socket:
            return (await socket.receive()).data.startswith("0{")
    except aiohttp.WSServerHandshakeError as error:
        if error.status != 403:
            raise
        return False


async def test_a_page_of_another_origin_opens_no_socket(make_api):
    api = await make_api(live=True)

    assert not await opens(api, Origin=APP)
    assert not await opens(api, Origin="null")
    assert await opens(api), "no browser"
    assert await opens(api, Origin=f"http://127.0.0.1:{api.client.port}"), "a page of ours"


@pytest.mark.parametrize("stranger", SENDABLE)
async def test_what_only_looks_like_an_allowed_origin_opens_no_socket(make_api, stranger):
    api = await make_api(live=True, allowed_origins=[APP], public_url="https://fit.example.com")

    assert not await opens(api, Origin=stranger)


async def test_an_allowed_origin_opens_sockets_and_reads_polls(make_api):
    api = await make_api(live=True, allowed_origins=[APP], public_url="https://fit.example.com")

    assert await opens(api, Origin=APP)
    assert await opens(api, Origin="https://fit.example.com")
    poll = await api.call("GET", f"{SOCKET}&transport=polling", Origin=APP)
    assert (poll.status, poll.headers["Access-Control-Allow-Origin"]) == (200, APP)
    preflight = await api.call("OPTIONS", SOCKET, Origin=APP, Access_Control_Request_Method="POST")
    assert (preflight.status, preflight.headers["Access-Control-Allow-Methods"]) == (204, "GET, HEAD, POST")


async def test_polls_of_another_origin_are_refused_and_not_readable(make_api):
    api = await make_api(live=True, allowed_origins=[APP])
    evil = {"Origin": "https://evil.example.com"}

    session = await api.call("GET", f"{SOCKET}&transport=polling", Origin=APP)
    sid = session.body.partition('"sid":"')[2].partition('"')[0]
    opened = await api.call("GET", f"{SOCKET}&transport=polling", **evil)
    taken = await api.call("GET", f"{SOCKET}&transport=polling&sid={sid}", **evil)
    preflight = await api.call("OPTIONS", SOCKET, Access_Control_Request_Method="POST", **evil)

    assert sid
    for answer in (opened, taken):
        assert (answer.status, answer.code) == (403, "origin_refused")
        assert shared(answer) == set()
    assert (preflight.status, shared(preflight)) == (405, set())


async def test_what_a_proxy_would_say_does_not_make_an_origin_ours(make_api):
    api = await make_api(live=True)

    assert not await opens(
        api,
        Origin="https://evil.example.com",
        **{"X-Forwarded-Host": "evil.example.com", "X-Forwarded-Proto": "https"},
    )


async def test_no_script_comes_out_of_a_poll(make_api):
    api = await make_api(live=True)

    answer = await api.call("GET", f"{SOCKET}&transport=polling&j=0")

    assert (answer.status, answer.code) == (400, "bad_request")
