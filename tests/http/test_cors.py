from __future__ import annotations

PREFLIGHT = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "if-match"}


async def test_without_a_setting_other_origins_get_no_permission(api):
    answer = await api.call("GET", "/health/live", Origin="https://app.example.com")
    preflight = await api.call("OPTIONS", "/workouts", Origin="https://app.example.com", **PREFLIGHT)

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert preflight.status == 405


async def test_an_allowed_origin_may_call_and_see_our_headers(make_api):
    api = await make_api(allowed_origins=["https://app.example.com"])

    answer = await api.call("GET", "/workouts", Origin="https://app.example.com")
    preflight = await api.call("OPTIONS", "/v1/workouts", Origin="https://app.example.com", **PREFLIGHT)
    other = await api.call("GET", "/workouts", Origin="https://evil.example.com")
    refused = await api.call("OPTIONS", "/workouts", Origin="https://evil.example.com", **PREFLIGHT)

    assert answer.headers["Access-Control-Allow-Origin"] == "https://app.example.com"
    assert "ETag" in answer.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in answer.headers
    assert preflight.status == 204
    assert preflight.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    assert "Access-Control-Allow-Origin" not in other.headers
    assert refused.status == 405


async def test_all_origins_may_be_allowed(make_api):
    api = await make_api(allowed_origins=["*"])

    answer = await api.call("GET", "/health/live", Origin="https://any.example.com")

    assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example.com"
