"""The public keys, for whoever verifies access tokens without asking us."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from aiohttp import web

from fitai.http.frame import Reply, Routes, Schema

KEPT_S = 300  # how long others may keep the answer: half of the time that a key is published before it signs

JWKS: web.AppKey[Callable[[], list[dict[str, Any]]]] = web.AppKey("fitai_jwks")

routes = Routes("auth")


class PublicKey(Schema):
    """An Ed25519 key (RFC 8037). `kid` is its thumbprint (RFC 7638) and stands in the tokens it signed."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: str
    kid: str
    alg: Literal["EdDSA"]
    use: Literal["sig"]


class PublicKeys(Schema):
    """Every key that an access token may be signed with now or soon."""

    keys: list[PublicKey]


@routes.get("/.well-known/jwks.json", response=PublicKeys, limit=None)
async def public_keys(request: web.Request) -> Reply:
    """List the keys that access tokens are verified with.

    A key is listed ten minutes before it signs, and for a token's life after another has taken over: keep the
    answer for as long as `Cache-Control` says, and ask again when a token names a `kid` that is not in it.
    """
    keys = PublicKeys.model_validate({"keys": request.app[JWKS]()})
    return Reply(keys, headers={"Cache-Control": f"public, max-age={KEPT_S}"})
