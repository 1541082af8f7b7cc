"""What attackers do with tokens, over HTTP: every one is refused, and none is an error of ours."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fitai.http.auth import keys
from fitai.http.auth.tokens import ACCESS_MS, AUDIENCE, ISSUER, TYPE, AccessTokens
from fitai.persistence.personal_tokens import PREFIX
from fitai.persistence.signing_keys import SigningKeys
from tests.http.conftest import SECRET, Api
from tests.keys import ring_of, ring_of_release_before


def parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A token's header and claims."""
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def coded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else orjson.dumps(value)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def raw_token(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return f"{coded(header)}.{coded(claims)}.{coded(signature)}"


async def tried(api: Api, token: str) -> str | None:
    """The code that a request with this token is answered with; None when it is served."""
    answer = await api.call("GET", "/auth/devices", token=token)
    assert answer.status in (200, 401), answer.body
    return answer.code


async def test_the_token_that_attacks_begin_with_is_good(api, ada):
    assert await tried(api, ada.token) is None


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", ""])
async def test_no_signature_at_all(api, ada, name):
    header, claims = parts(ada.token)
    assert await tried(api, raw_token({**header, "alg": name}, claims)) == "unauthorized"
    assert await tried(api, raw_token({"alg": name}, claims)) == "unauthorized"
    signature = jwt.utils.base64url_decode(ada.token.rsplit(".", 1)[1])
    assert await tried(api, raw_token({**header, "alg": name}, claims, signature)) == "unauthorized"


async def test_the_public_key_as_the_secret_of_an_hmac(api, ada):
    """What is published must not verify what it signed symmetrically, whatever its spelling."""
    header, claims = parts(ada.token)
    public = api.keeper.get(header["kid"]).public
    document = (await api.call("GET", "/.well-known/jwks.json")).body["keys"][0]
    spellings = [
        public.public_bytes(Encoding.Raw, PublicFormat.Raw),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
        document["x"].encode(),
        orjson.dumps(document),
    ]
    for key in spellings:
        for more in (
            {"kid": header["kid"], "typ": TYPE},
            {"kid": header["kid"], "typ": "JWT"},
            {"typ": "JWT"},
        ):
            given = {"alg": "HS256", **more}
            message = f"{coded(given)}.{coded(claims)}"
            signature = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(
                message.encode(), key
            )
            assert await tried(api, f"{message}.{coded(signature)}") == "unauthorized"


async def test_the_secret_key_signs_nothing_where_there_is_a_ring(api, ada):
    """Not even for who has it: HS256 is for the transition from the release before only."""
    _, claims = parts(ada.token)
    for headers in ({}, {"kid": keys.SECRET_KID}, {"kid": parts(ada.token)[0]["kid"]}):
        assert await tried(api, jwt.encode(claims, SECRET, "HS256", headers)) == "unauthorized"


async def test_a_token_of_the_transition_cannot_be_made_with_what_is_published(make_api):
    """While the secret key still verifies HS256, it is the secret and nothing else that does."""
    api = await make_api()
    ada = await api.register()
    before = AccessTokens(ring_of_release_before(SECRET), api.clock)
    transition = keys.made_of_secret(api.clock(), api.clock() + 60_000, ACCESS_MS)
    async with api.db.write() as session:
        await SigningKeys(session).add(transition)
    await api.keeper.read()
    assert await tried(api, before.issue(ada.id, ada.device)) is None
    _, claims = parts(ada.token)
    document = (await api.call("GET", "/.well-known/jwks.json")).body["keys"]
    assert [key["alg"] for key in document] == ["EdDSA"]
    for secret in (document[0]["x"], "the secret key of somebody else, as long", SECRET + "r"):
        assert await tried(api, jwt.encode(claims, secret, "HS256")) == "unauthorized"
        header = {"alg": "EdDSA", "kid": keys.SECRET_KID, "typ": TYPE}
        assert await tried(api, raw_token(header, claims, secret.encode())) == "unauthorized"


@pytest.mark.parametrize(
    "kid",
    [
        "../../../../dev/null",
        "/dev/null",
        "file:///etc/passwd",
        "' OR '1'='1",
        "x'; DROP TABLE signing_keys; --",
        "x' UNION SELECT kid, algorithm, public, private FROM signing_keys --",
        "",
        " ",
        "\x00",
        "kid\nSet-Cookie: a=b",
        "Ω" * 20,
        "a" * 65,
        "a" * 1500,
        5,
        None,
        True,
        ["a"],
        {"a": 1},
    ],
)
async def test_a_key_s_name_that_is_none(api, ada, kid):
    header, claims = parts(ada.token)
    signature = jwt.utils.base64url_decode(ada.token.rsplit(".", 1)[1])
    assert await tried(api, raw_token({**header, "kid": kid}, claims, signature)) == "unauthorized"
    empty = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    message = f"{coded({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{coded(claims)}"
    assert await tried(api, f"{message}.{coded(empty.sign(message.encode(), b''))}") == "unauthorized"
    assert await tried(api, ada.token) is None, "the keys are still there"


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_a_key_that_the_token_brings_along(api, ada, name):
    header, claims = parts(ada.token)
    mine = ed25519.Ed25519PrivateKey.generate()
    brought = {
        "jwk": keys.jwk(mine.public_key()),
        "jku": "http://127.0.0.1:9/jwks.json",
        "x5u": "http://127.0.0.1:9/cert.pem",
        "x5c": [base64.b64encode(b"certificate").decode()],
    }[name]
    forged = jwt.encode(claims, mine, "EdDSA", {**header, name: brought})
    assert await tried(api, forged) == "unauthorized"


async def test_a_header_that_asks_for_what_we_do_not_know(api, ada):
    header, claims = parts(ada.token)
    key = api.keeper.signer(api.clock())
    ours = jwt.encode(claims, key.private, "EdDSA", header)
    assert await tried(api, ours) is None
    critical = {**header, "crit": ["exp"]}
    message = f"{coded(critical)}.{coded(claims)}"
    assert await tried(api, f"{message}.{coded(key.private.sign(message.encode()))}") == "unauthorized"
    for kind in ("JWT", "jwt", None, "id+jwt"):
        other = jwt.encode(claims, key.private, "EdDSA", {**header, "typ": kind})
        assert await tried(api, other) == "unauthorized", "a JWT for another purpose"


async def test_another_key_or_curve_under_our_key_s_name(api, ada):
    header, claims = parts(ada.token)
    mine = jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA", header)
    assert await tried(api, mine) == "unauthorized"
    curve = jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {**header, "alg": "ES256"})
    assert await tried(api, curve) == "unauthorized"


async def test_a_token_of_another_installation(api, ada):
    elsewhere = AccessTokens(ring_of("the secret of another installation"), api.clock)
    assert await tried(api, elsewhere.issue(ada.id, ada.device)) == "unauthorized"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "fitai.example.com"},
        {"iss": ["fitai"]},
        {"aud": "somebody else"},
        {"aud": ["other", "another"]},
        {"aud": None},
    ],
)
async def test_our_signature_for_another_issuer_or_audience(api, ada, change):
    header, claims = parts(ada.token)
    key = api.keeper.signer(api.clock())
    assert (claims["iss"], claims["aud"]) == (ISSUER, AUDIENCE)

    def signed(claims: dict[str, Any]) -> str:
        message = f"{coded(header)}.{coded(claims)}"
        return f"{message}.{coded(key.private.sign(message.encode()))}"

    assert await tried(api, signed(claims)) is None
    changed = {name: value for name, value in (claims | change).items() if value is not None}
    assert await tried(api, signed(changed)) == "unauthorized"


async def test_claims_that_were_changed_after_signing(api, ada, bob):
    header, claims = parts(ada.token)
    signature = jwt.utils.base64url_decode(ada.token.rsplit(".", 1)[1])
    for change in ({"sub": bob.id}, {"dev": 2}, {"exp": claims["exp"] + 1}, {"scope": "admin"}):
        assert await tried(api, raw_token(header, claims | change, signature)) == "unauthorized"
    assert await tried(api, ada.token[:-2] + ("A" if ada.token[-2] != "A" else "B") + ada.token[-1]) in (
        "unauthorized",
    )


async def test_a_token_that_is_too_old_and_one_of_a_key_that_is(api, ada):
    old = ada.token
    api.clock.advance(seconds=ACCESS_MS / 1000)
    assert await tried(api, old) == "token_expired"
    fresh = await api.login(ada)
    assert await tried(api, fresh.token) is None
    await api.keeper.rotate(at_once=True)
    assert await tried(api, fresh.token) == "token_expired", "its key was stolen, say"
    _, claims = parts(fresh.token)
    stolen = api.keeper.get(parts(fresh.token)[0]["kid"])
    later = jwt.encode(
        claims | {"exp": claims["exp"] + 10**6}, stolen.private, "EdDSA", parts(fresh.token)[0]
    )
    assert await tried(api, later) == "token_expired", "and signs nothing any more"


@pytest.mark.parametrize("text", ["", "Bearer", ".", "..", "a" * 3000, "fitai_pat_", f"{PREFIX}{'0' * 46}"])
async def test_what_is_no_token_at_all(api, ada, text):
    assert await tried(api, text) == "unauthorized"


async def test_a_token_is_taken_from_its_header_and_nowhere_else(api, ada):
    answer = await api.call("GET", f"/auth/devices?access_token={ada.token}")
    assert answer.code == "unauthorized"
    answer = await api.call("GET", "/auth/devices", Cookie=f"access_token={ada.token}")
    assert answer.code == "unauthorized"


# -- sign-ins --------------------------------------------------------------------------------------


async def test_a_refresh_token_in_two_hands_ends_the_sign_in_and_its_access_tokens(database_url, make_api):
    api = await make_api(database_url)
    ada = await api.register()
    other = await api.login(ada)
    body = {"refresh_token": ada.refresh_token}
    answers = await asyncio.gather(*(api.call("POST", "/auth/refresh", body) for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 401, 401, 401, 401]
    won = next(answer.body for answer in answers if answer.status == 200)
    again = await api.call("POST", "/auth/refresh", {"refresh_token": won["refresh_token"]})
    assert again.code == "invalid_refresh_token"
    for token in (ada.token, won["access_token"]):
        assert await tried(api, token) == "unauthorized"
    assert await tried(api, other.token) is None, "another sign-in of the same person goes on"


async def test_signing_out_ends_the_access_token_of_that_sign_in_only(api, ada):
    other = await api.login(ada, install_id="a")
    renewed = (await api.call("POST", "/auth/refresh", {"refresh_token": ada.refresh_token})).body
    answer = await api.call("POST", "/auth/logout", {"refresh_token": renewed["refresh_token"]})
    assert answer.status == 204
    assert await tried(api, ada.token) == await tried(api, renewed["access_token"]) == "unauthorized"
    assert await tried(api, other.token) is None


async def test_signing_out_a_device_ends_all_its_access_tokens(api, ada):
    first = await api.login(ada, install_id="a")
    second = await api.login(ada, install_id="a")
    assert first.device == second.device
    await second.call("POST", "/auth/logout", {})
    assert await tried(api, first.token) == await tried(api, second.token) == "unauthorized"
    assert await tried(api, ada.token) is None
    assert await tried(api, (await api.login(ada, install_id="a")).token) is None


async def test_an_installation_that_signs_in_again_revives_no_token_of_before(api, ada):
    phone = await api.login(ada, install_id="a")
    assert (await ada.call("DELETE", f"/auth/devices/{phone.device}")).status == 204
    assert await tried(api, phone.token) == "device_revoked"
    again = await api.login(ada, install_id="a")
    assert again.device == phone.device
    assert await tried(api, again.token) is None
    assert await tried(api, phone.token) == "unauthorized"


# -- cookies ---------------------------------------------------------------------------------------

OURS = {"X_FitAI_Mode": "browser"}
COOKIE = "__Host-fitai_refresh"


def own(api: Api) -> dict[str, str]:
    """The headers of a page of ours."""
    return {**OURS, "Origin": f"http://127.0.0.1:{api.client.port}"}


async def entered(api: Api, **headers: str) -> tuple[Any, dict[str, str], str]:
    """A person who has signed in by a page: the answer, the cookie, and its attributes."""
    email = f"{base64.b32encode(headers.get('Origin', '').encode())[:20].decode().lower()}@example.org"
    body = {
        "email": email,
        "password": "correct horse",
        "device": {"name": "Browser", "platform": "web"},
    }
    answer = await api.call("POST", "/auth/register", body, **headers)
    assert answer.status == 201, answer.body
    cookie, _, attributes = answer.headers["Set-Cookie"].partition("; ")
    return answer, {"Cookie": cookie}, attributes


async def test_in_browser_mode_the_refresh_token_is_a_cookie_that_no_script_reads(api):
    answer, cookie, attributes = await entered(api, **own(api))
    assert answer.body["refresh_token"] is None
    assert cookie["Cookie"].startswith(f"{COOKIE}=")
    assert len(cookie["Cookie"]) > 40
    assert attributes == "Max-Age=2592000; Path=/; Secure; HttpOnly; SameSite=Strict"

    renewed = await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))
    assert renewed.status == 200
    assert renewed.body["refresh_token"] is None
    assert await tried(api, renewed.body["access_token"]) is None
    next_one = renewed.headers["Set-Cookie"].partition("; ")[0]
    assert next_one != cookie["Cookie"]

    out = await api.call("POST", "/auth/logout", {}, Cookie=next_one, **own(api))
    assert out.status == 204
    assert out.headers["Set-Cookie"].startswith(f"{COOKIE}=; Max-Age=0; ")
    assert await tried(api, renewed.body["access_token"]) == "unauthorized"


async def test_without_browser_mode_there_is_no_cookie_and_none_is_read(api):
    _, cookie, _ = await entered(api, **own(api))
    page = {"Origin": own(api)["Origin"]}
    assert (await api.call("POST", "/auth/refresh", {}, **cookie, **page)).code == "invalid_refresh_token"
    assert (await api.call("POST", "/auth/logout", {}, **cookie, **page)).code == "unauthorized"
    plain = await api.register()
    assert plain.refresh_token
    assert (await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://app.example.com.evil.example",
        "https://evil.example/?https://app.example.com",
        "*",
        "",
        None,
    ],
)
async def test_the_cookie_is_no_use_to_another_page(make_api, origin):
    api = await make_api(allowed_origins=["https://app.example.com", "*"])
    _, cookie, _ = await entered(api, **own(api))
    page = {**OURS} if origin is None else {**OURS, "Origin": origin}
    for path in ("/auth/refresh", "/v1/auth/refresh", "/auth/logout"):
        answer = await api.call("POST", path, {}, **cookie, **page)
        assert (answer.status, answer.code) == (403, "origin_refused")
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Set-Cookie" not in answer.headers
    body = {"email": "a@example.org", "password": "correct horse", "device": {"name": "B", "platform": "web"}}
    for path in ("/auth/register", "/auth/login"):
        assert (await api.call("POST", path, body, **page)).code == "origin_refused"
    assert (await api.call("POST", "/auth/login", body)).code == "invalid_credentials", "nobody registered"
    assert (await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))).status == 200, (
        "nothing was spent"
    )


async def test_a_page_of_an_origin_that_is_named_may_use_the_cookie(make_api):
    api = await make_api(allowed_origins=["https://app.example.com"])
    page = {**OURS, "Origin": "https://app.example.com"}
    answer, cookie, _ = await entered(api, **page)
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert (await api.call("POST", "/auth/refresh", {}, **cookie, **page)).status == 200
    asked = await api.call(
        "OPTIONS",
        "/auth/refresh",
        Origin="https://app.example.com",
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="x-fitai-mode",
    )
    assert "X-FitAI-Mode" in asked.headers["Access-Control-Allow-Headers"]
    assert asked.headers["Access-Control-Allow-Credentials"] == "true"


async def test_a_form_of_another_site_can_neither_refresh_nor_sign_anybody_in(api):
    """What a form can send: no header of ours, a body that is no JSON, its own origin, cookies if Lax."""
    _, cookie, _ = await entered(api, **own(api))
    for kind in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        headers = {"Origin": "https://evil.example", "Content-Type": kind, **cookie}
        for path in ("/auth/refresh", "/auth/login"):
            async with api.client.post(path, data=b'{"refresh_token": "x"}', headers=headers) as response:
                assert response.status == 415
        async with api.client.post("/auth/refresh", headers=headers) as response:
            assert response.status == 401
    assert (await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))).status == 200


async def test_a_cookie_that_is_used_twice_ends_the_sign_in_and_is_taken_away(api):
    answer, cookie, _ = await entered(api, **own(api))
    good = await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))
    reused = await api.call("POST", "/auth/refresh", {}, **cookie, **own(api))
    assert reused.code == "refresh_token_reused"
    assert reused.headers["Set-Cookie"].startswith(f"{COOKIE}=; Max-Age=0; ")
    for session in (answer.body, good.body):
        assert await tried(api, session["access_token"]) == "unauthorized"


async def test_the_cookie_alone_opens_nothing_else(api):
    _, cookie, _ = await entered(api, **own(api))
    assert (await api.call("GET", "/auth/devices", **cookie, **own(api))).code == "unauthorized"
