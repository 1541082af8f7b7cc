"""The auth routes: signing in and out, what is proved by mail, devices, personal tokens."""

from __future__ import annotations

from aiohttp import web

from fitai.gateways.identity import Identity
from fitai.http.auth import browser, confirmation
from fitai.http.auth.devices import DeviceService
from fitai.http.auth.pages import page, refusal, wants_page
from fitai.http.auth.passwords import LONGEST, SHORTEST
from fitai.http.auth.personal import PersonalTokenService
from fitai.http.auth.recovery import Recovery
from fitai.http.auth.schemas import (
    DeviceName,
    DeviceOut,
    DevicePath,
    DeviceQuery,
    Devices,
    Forgotten,
    Fork,
    Forked,
    LinkQuery,
    Login,
    Logout,
    NewPersonalToken,
    PersonalTokenCreate,
    PersonalTokenPath,
    PersonalTokensOut,
    Refresh,
    Register,
    Reset,
    Session,
    Unverified,
    Verified,
    VerifyQuery,
)
from fitai.http.auth.sign_in import SignInService
from fitai.http.auth.visitor import visitor
from fitai.http.frame import Reply, Routes
from fitai.http.problems import Problem

SIGN_IN: web.AppKey[SignInService] = web.AppKey("fitai_sign_in", SignInService)
RECOVERY: web.AppKey[Recovery] = web.AppKey("fitai_recovery", Recovery)
TOKENS: web.AppKey[PersonalTokenService] = web.AppKey("fitai_personal_tokens", PersonalTokenService)
DEVICES: web.AppKey[DeviceService] = web.AppKey("fitai_devices", DeviceService)

BUTTON = "Yes, this is my address"

routes = Routes("auth")


@routes.post(
    "/auth/register",
    status=201,
    response=Session,
    errors=("email_taken", "weak_password", "origin_refused"),
    limit="auth",
)
async def register(request: web.Request, body: Register) -> Reply:
    """Register a new user on a first device.

    The address gets a link that verifies it. Until then everything works; `email_verified` says so. With the
    header `X-FitAI-Mode: browser` the refresh token comes as a cookie that scripts can not read.
    """
    browser.is_browser(request)  # refused before anything is done
    return browser.handed(request, await request.app[SIGN_IN].register(body, visitor(request)))


@routes.post(
    "/auth/login",
    response=Session,
    errors=("invalid_credentials", "second_factor_required", "second_factor_invalid", "origin_refused"),
    limit="auth",
)
async def login(request: web.Request, body: Login) -> Reply:
    """Sign in on a device.

    A known `install_id` is the same device: its counter and its unsent ops go on. When a user has too many
    devices, the one that was not used for longest is revoked. With `second_factor_required` the password was
    right: send the same with `otp`. An account that is to be erased can sign in until then, and be restored.
    With the header `X-FitAI-Mode: browser` the refresh token comes as a cookie that scripts can not read.
    """
    browser.is_browser(request)
    return browser.handed(request, await request.app[SIGN_IN].login(body, visitor(request)))


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
        return browser.handed(request, await request.app[SIGN_IN].refresh(token, visitor(request)))
    except Problem as problem:
        problem.headers.update(browser.forgotten(request))
        raise


@routes.post("/auth/logout", status=204, errors=("origin_refused",), limit="auth")
async def logout(request: web.Request, caller: Identity | None, body: Logout) -> Reply:
    """Sign out.

    Ends the sign-in of `refresh_token` (in browser mode of the cookie), or without it every sign-in of the
    calling device, with `all` every sign-in of the person: their access tokens stop working at once, and
    their live connections are closed. Devices stay enrolled: what they have not sent yet can be sent after
    the next login. Personal tokens stay good.
    """
    token = browser.shown(request, body.refresh_token)
    if body.all:
        await request.app[SIGN_IN].logout_everywhere(caller, visitor(request))
    else:
        await request.app[SIGN_IN].logout(caller, token)
    return Reply(headers=browser.forgotten(request))


@routes.post("/auth/forgot-password", status=202, limit="mail")
async def forgot_password(request: web.Request, body: Forgotten) -> None:
    """Ask for a link to a new password.

    The answer is the same for every address. Who has an account with it gets a letter; its link works once,
    for an hour, and an earlier one does not work any more.
    """
    await request.app[RECOVERY].forgot(body.email, visitor(request))


@routes.get("/auth/reset-password", also=("text/html",), limit=None)
async def reset_password_page(request: web.Request, query: LinkQuery) -> web.Response:
    """Show the page that asks for a new password.

    Where the link of the letter leads, for people without an app at hand. Without a token it asks for the
    address and has a link sent.
    """
    title = "Choose a new password" if query.token else "Forgot your password?"
    return page("password", title=title, token=query.token, shortest=SHORTEST, longest=LONGEST)


@routes.post(
    "/auth/reset-password",
    status=204,
    errors=(
        "invalid_link",
        "weak_password",
    ),
    limit="auth",
)
async def reset_password(request: web.Request, body: Reset) -> None:
    """Set a new password by the link of a letter.

    Signs every device out and tells the person by mail. It does not sign in, and a second factor stays
    needed.
    """
    await request.app[RECOVERY].reset(body, visitor(request))


@routes.get(
    "/auth/verify-email",
    response=Verified,
    also=("text/html",),
    errors=("invalid_link", "email_taken"),
    limit="auth",
)
async def verify_email(request: web.Request, query: VerifyQuery) -> Verified | web.Response:
    """Verify an address by the link of a letter.

    A program gets JSON, and the address is verified. A browser (`Accept` names `text/html`) gets a page
    with a button, which verifies: so scanners that fetch links verify nothing. The link of a letter about a
    new address changes it too. Opened again within its life it gives the same answer.
    """
    recovery, html = request.app[RECOVERY], wants_page(request)
    if request.method == "HEAD" or (html and not query.confirm):
        proof = await recovery.holds(query.token)
        if proof is None:
            return _refused(Problem("invalid_link"), html)
        text = f"Is {proof.email} your address?"
        return page("verify", title="Verify your address", text=text, token=query.token, button=BUTTON)
    try:
        email = await recovery.verify(query.token, visitor(request))
    except Problem as problem:
        return _refused(problem, html)
    if html:
        return page("verify", title="Thank you", text=f"{email} is verified.", token=None)
    return Verified(email=email, email_verified=True)


def _refused(problem: Problem, html: bool) -> web.Response:
    if not html:
        raise problem
    return refusal(problem)


@routes.post("/auth/resend-verification", status=202, limit="mail")
async def resend_verification(request: web.Request, body: Unverified) -> None:
    """Ask for the link that verifies an address once more.

    The answer is the same for every address. A letter goes to it if it has an account and is not verified;
    the link in an earlier one does not work any more.
    """
    await request.app[RECOVERY].resend(body.email, visitor(request))


@routes.get("/auth/devices", response=Devices)
async def list_devices(request: web.Request, caller: Identity, query: DeviceQuery) -> Devices:
    """List the enrolled devices.

    Records and conflicts name devices by number, those that are out too: `revoked=true` lists them as well.
    """
    return Devices(devices=await request.app[DEVICES].devices(caller, revoked=query.revoked))


@routes.post("/auth/devices", status=201, response=Forked, errors=("gap", "already_exists"), limit="auth")
async def fork_device(request: web.Request, caller: Identity, body: Fork) -> Forked:
    """Fork the calling device.

    The way out when two copies of one device write (a restored backup, a clone): the copy that is told
    `equivocation`, or finds `ready.next_n` beyond its own counter while it holds unsent ops, becomes a new
    device. The new device's context holds the parent's ops below `fork_at`; it numbers what it still holds
    from 1, keeping ids, `at` and `base`.
    """
    return await request.app[DEVICES].fork(caller, body)


@routes.patch("/auth/devices/{id}", response=DeviceOut)
async def rename_device(
    request: web.Request, caller: Identity, path: DevicePath, body: DeviceName
) -> DeviceOut:
    """Rename a device.

    All its user's devices see the new name in `presence` while it is here.
    """
    return await request.app[DEVICES].rename(caller, path.id, body.name)


@routes.delete("/auth/devices/{id}", status=204)
async def revoke_device(request: web.Request, caller: Identity, path: DevicePath) -> None:
    """Revoke a device.

    Its tokens stop working at once and its live connections are closed.
    """
    await request.app[DEVICES].revoke(caller, path.id, visitor(request))


@routes.get("/auth/tokens", response=PersonalTokensOut)
async def list_tokens(request: web.Request, caller: Identity) -> PersonalTokensOut:
    """List the personal tokens."""
    return PersonalTokensOut(tokens=await request.app[TOKENS].mine(caller))


@routes.post(
    "/auth/tokens",
    status=201,
    response=NewPersonalToken,
    errors=("limit", *confirmation.ERRORS),
    limit="auth",
)
async def create_token(request: web.Request, caller: Identity, body: PersonalTokenCreate) -> NewPersonalToken:
    """Make a personal token.

    For integrations: it is sent as `Authorization: Bearer`, may do what its scopes say and nothing else, and
    writes as a device of its own. It is shown this once.
    """
    return await request.app[TOKENS].create(caller, body, visitor(request))


@routes.delete("/auth/tokens/{id}", status=204)
async def revoke_token(request: web.Request, caller: Identity, path: PersonalTokenPath) -> None:
    """Revoke a personal token.

    It stops working at once.
    """
    await request.app[TOKENS].revoke(caller, path.id, visitor(request))
