"""The auth routes."""

from __future__ import annotations

from aiohttp import web

from fitai.gateways.identity import Identity
from fitai.http.auth import browser
from fitai.http.auth.schemas import (
    DeviceName,
    DeviceOut,
    DevicePath,
    DeviceQuery,
    Devices,
    Fork,
    Forked,
    Login,
    Logout,
    Refresh,
    Register,
    Session,
)
from fitai.http.auth.service import AuthService
from fitai.http.frame import Reply, Routes
from fitai.http.problems import Problem

AUTH: web.AppKey[AuthService] = web.AppKey("fitai_auth", AuthService)

routes = Routes("auth")


@routes.post(
    "/auth/register", status=201, response=Session, errors=("email_taken", "origin_refused"), limit="auth"
)
async def register(request: web.Request, body: Register) -> Reply:
    """Register a new user on a first device.

    With the header `X-FitAI-Mode: browser` the refresh token comes as a cookie that scripts can not read.
    """
    browser.is_browser(request)  # refused before anything is done
    return browser.handed(request, await request.app[AUTH].register(body))


@routes.post("/auth/login", response=Session, errors=("invalid_credentials", "origin_refused"), limit="auth")
async def login(request: web.Request, body: Login) -> Reply:
    """Sign in on a device.

    A known `install_id` is the same device: its counter and its unsent ops go on. When a user has too many
    devices, the one that was not used for longest is revoked. With the header `X-FitAI-Mode: browser` the
    refresh token comes as a cookie that scripts can not read.
    """
    browser.is_browser(request)
    return browser.handed(request, await request.app[AUTH].login(body, request.remote or ""))


@routes.post(
    "/auth/refresh",
    response=Session,
    errors=("invalid_refresh_token", "refresh_token_reused", "origin_refused"),
    limit="auth",
)
async def refresh(request: web.Request, body: Refresh) -> Reply:
    """Exchange a refresh token for new tokens.

    Each refresh token works once. A second use ends the sign-in: all its tokens are revoked, the access
    tokens too, and its live connections are closed. Tabs of one browser therefore have to take turns. With
    the header `X-FitAI-Mode: browser` the token may be left out: the cookie is it.
    """
    token = browser.shown(request, body.refresh_token)
    try:
        return browser.handed(request, await request.app[AUTH].refresh(token))
    except Problem as problem:
        problem.headers.update(browser.forgotten(request))
        raise


@routes.post("/auth/logout", status=204, errors=("origin_refused",), limit="auth")
async def logout(request: web.Request, caller: Identity | None, body: Logout) -> Reply:
    """Sign out.

    Ends the sign-in of `refresh_token` (in browser mode of the cookie), or without it every sign-in of the
    calling device: its access tokens stop working at once, and its live connections are closed. The device
    stays enrolled: what it has not sent yet can be sent after the next login.
    """
    await request.app[AUTH].logout(caller, browser.shown(request, body.refresh_token))
    return Reply(headers=browser.forgotten(request))


@routes.get("/auth/devices", response=Devices)
async def list_devices(request: web.Request, caller: Identity, query: DeviceQuery) -> Devices:
    """List the enrolled devices.

    Records and conflicts name devices by number, those that are out too: `revoked=true` lists them as well.
    """
    return Devices(devices=await request.app[AUTH].devices(caller, revoked=query.revoked))


@routes.post("/auth/devices", status=201, response=Forked, errors=("gap", "already_exists"), limit="auth")
async def fork_device(request: web.Request, caller: Identity, body: Fork) -> Forked:
    """Fork the calling device.

    The way out when two copies of one device write (a restored backup, a clone): the copy that is told
    `equivocation`, or finds `ready.next_n` beyond its own counter while it holds unsent ops, becomes a new
    device. The new device's context holds the parent's ops below `fork_at`; it numbers what it still holds
    from 1, keeping ids, `at` and `base`.
    """
    return await request.app[AUTH].fork(caller, body)


@routes.patch("/auth/devices/{id}", response=DeviceOut)
async def rename_device(
    request: web.Request, caller: Identity, path: DevicePath, body: DeviceName
) -> DeviceOut:
    """Rename a device.

    All its user's devices see the new name in `presence` while it is here.
    """
    return await request.app[AUTH].rename(caller, path.id, body.name)


@routes.delete("/auth/devices/{id}", status=204)
async def revoke_device(request: web.Request, caller: Identity, path: DevicePath) -> None:
    """Revoke a device.

    Its tokens stop working at once and its live connections are closed.
    """
    await request.app[AUTH].revoke(caller, path.id)
