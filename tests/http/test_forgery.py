"""What a page of somebody else could make a browser send, and what a caller could make the server say."""

from __future__ import annotations

import re

import pytest

from fitai.http.app import ROUTES

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
READING = [route for route in ROUTES if route.body_model is not None]

# What an HTML form, or a script without a preflight, can send.
SIMPLE = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]


def some_path(route) -> str:
    """The route's path with a value for each parameter."""

    def value(found: re.Match[str]) -> str:
        return "1" if route.path_model.model_fields[found[1]].annotation is int else W

    return re.sub(r"\{(\w+)\}", value, route.path)


@pytest.mark.parametrize("content_type", SIMPLE)
async def test_no_route_takes_a_body_that_a_form_could_send(api, ada, content_type):
    assert READING
    for route in READING:
        path = some_path(route)
        headers = {"Content-Type": content_type, "If-Match": '"1"', "Authorization": f"Bearer {ada.token}"}
        async with api.client.request(route.method, path, data=b"{}", headers=headers) as answer:
            document = await answer.json(content_type="application/problem+json")
        assert (answer.status, document["code"]) == (415, "unsupported_media_type"), route.path


async def test_nothing_is_changed_by_a_method_that_is_safe(api):
    safe = [route for route in ROUTES if route.method == "GET"]

    assert all(route.body_model is None for route in safe)
    assert {route.method for route in ROUTES} <= {"GET", "POST", "PUT", "PATCH", "DELETE"}


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
async def test_a_method_cannot_be_put_on_another(api, ada, header):
    workout = await ada.workout(title="t")
    path = f"/workouts/{workout['id']}"
    async with api.client.request(
        "GET", f"{path}?_method=DELETE", headers={header: "DELETE", "Authorization": f"Bearer {ada.token}"}
    ) as answer:
        assert answer.status in (200, 422)
    assert (await ada.call("GET", path)).status == 200, "it is still there"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "SEARCH"])
async def test_other_methods_are_refused_and_echo_nothing(api, ada, method):
    answer = await api.call(method, "/health/live", Authorization=f"Bearer {ada.token}", X_Secret="swordfish")

    assert answer.status in (404, 405)
    assert "swordfish" not in str(answer.body)
    assert ada.token not in str(answer.body)


async def test_a_link_is_never_made_of_what_the_caller_calls_us(make_api):
    forged = {"Host": "evil.example.com", "X_Forwarded_Host": "evil.example.com", "Forwarded": "host=evil"}
    for public_url, begins in (("", "/"), ("https://fit.example.com", "https://fit.example.com/")):
        api = await make_api(public_url=public_url)
        ada = await api.register()
        workout = await ada.workout(title="t")
        link = await ada.call("POST", f"/workouts/{workout['id']}/share", {"fields": ["title"]}, **forged)
        made = await ada.call("POST", "/workouts", {"title": "u"}, **forged)
        assert link.status == made.status == 201
        assert link.body["url"].startswith(begins)
        for answer in (link, made):
            assert "evil" not in str(answer.body) + str(answer.headers)


@pytest.mark.parametrize(
    "ending", ["%0d%0aX-Injected:%20yes", "%0aX-Injected:%20yes", "%E5%98%8A%E5%98%8DX-Injected:%20yes"]
)
async def test_what_is_asked_for_never_becomes_a_header(api, ada, ending):
    for path in (f"/workouts/{ending}", f"/docs{ending}", f"/workouts?cursor={ending}", f"/{ending}"):
        async with api.client.get(path, headers={"Authorization": f"Bearer {ada.token}"}) as answer:
            assert answer.status in (404, 422)
            assert "X-Injected" not in answer.headers


async def test_what_is_sent_never_becomes_a_header(api, ada):
    name = "t\r\nX-Injected: yes"
    made = await ada.call("POST", "/workouts", {"title": name})
    again = await ada.call("GET", f"/workouts/{made.body['id']}")

    assert again.body["title"] == name
    for answer in (made, again):
        assert "X-Injected" not in answer.headers


async def test_a_parameter_that_comes_twice_is_refused(api, ada):
    answer = await ada.call("GET", "/workouts?limit=1&limit=2")

    assert (answer.status, answer.code) == (422, "validation_failed")
    assert [(error["field"], error["code"]) for error in answer.body["errors"]] == [("limit", "repeated")]
