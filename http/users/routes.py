"""The routes of the person: profile, password and address, second factor, security log, leaving."""

from __future__ import annotations

from aiohttp import web

from fitai.gateways.identity import Identity
from fitai.http.auth import confirmation
from fitai.http.auth.confirmation import Confirmed
from fitai.http.auth.pages import page, refusal, wants_page
from fitai.http.auth.visitor import visitor
from fitai.http.frame import Reply, Routes
from fitai.http.problems import Problem
from fitai.http.users.credentials import Credentials, SecondFactorService
from fitai.http.users.leaving import Leaving
from fitai.http.users.profile import ProfileService
from fitai.http.users.schemas import (
    Deletion,
    EmailChange,
    Enabled,
    FactorCode,
    KeepQuery,
    Kept,
    LogPage,
    LogQuery,
    NewFactor,
    PasswordChange,
    Profile,
    ProfileEdit,
    RecoveryCodes,
    SecondFactor,
)

PROFILES: web.AppKey[ProfileService] = web.AppKey("fitai_profiles", ProfileService)
CREDENTIALS: web.AppKey[Credentials] = web.AppKey("fitai_credentials", Credentials)
SECOND_FACTOR: web.AppKey[SecondFactorService] = web.AppKey("fitai_second_factor", SecondFactorService)
LEAVING: web.AppKey[Leaving] = web.AppKey("fitai_leaving", Leaving)

routes = Routes("users")


@routes.get("/users/profile", response=Profile, etag=True, scope="profile:read")
async def get_profile(request: web.Request, caller: Identity) -> Reply:
    """Show the calling person's profile."""
    return await request.app[PROFILES].profile(caller)


@routes.patch("/users/profile", response=Profile, etag=True, scope="profile:write")
async def edit_profile(request: web.Request, caller: Identity, body: ProfileEdit) -> Reply:
    """Change the profile.

    Fields that are not named stay as they are; null takes one away.
    """
    return await request.app[PROFILES].edit(caller, body)


@routes.post(
    "/users/profile/delete",
    response=Deletion,
    errors=confirmation.ERRORS,
    limit="auth",
)
async def delete_account(request: web.Request, caller: Identity, body: Confirmed) -> Deletion:
    """Erase the account after a time of grace.

    A letter tells the date. Other devices are signed out; until the date the person can sign in and restore
    the account. Then everything of theirs is erased. Asked again, the date stays.
    """
    return Deletion(delete_after=await request.app[LEAVING].delete(caller, body, visitor(request)))


@routes.post("/users/profile/restore", status=204, errors=("not_found",))
async def restore_account(request: web.Request, caller: Identity) -> None:
    """Keep an account that was to be erased."""
    await request.app[LEAVING].restore(caller, visitor(request))


@routes.get("/users/profile/keep", response=Kept, also=("text/html",), errors=("invalid_link",), limit="auth")
async def keep_account(request: web.Request, query: KeepQuery) -> Kept | web.Response:
    """Keep an account that was to be erased, by the link of the letter.

    A program gets JSON, and the account stays. A browser gets a page with a button, which does it.
    """
    leaving, html = request.app[LEAVING], wants_page(request)
    try:
        if request.method == "HEAD" or (html and not query.confirm):
            if not await leaving.may_keep(query.token):
                raise Problem("invalid_link")
            text, button = "Your account is about to be deleted.", "Keep my account"
            return page("verify", title="Keep your account?", text=text, token=query.token, button=button)
        await leaving.keep(query.token, visitor(request))
    except Problem as problem:
        if not html:
            raise
        return refusal(problem)
    return page("verify", title="Thank you", text="It stays.", token=None) if html else Kept(kept=True)


@routes.post(
    "/users/password",
    status=204,
    errors=("weak_password", *confirmation.ERRORS),
    limit="auth",
)
async def change_password(request: web.Request, caller: Identity, body: PasswordChange) -> None:
    """Change the password.

    Signs every other device out and tells the person by mail.
    """
    await request.app[CREDENTIALS].change_password(caller, body, visitor(request))


@routes.post("/users/email", status=202, errors=("email_taken", *confirmation.ERRORS), limit="mail")
async def change_email(request: web.Request, caller: Identity, body: EmailChange) -> None:
    """Ask for another e-mail address.

    It gets a link, and takes the place of the old one when the link is opened; the old one is told then.
    """
    await request.app[CREDENTIALS].change_email(caller, body, visitor(request))


@routes.get("/users/second-factor", response=SecondFactor)
async def get_second_factor(request: web.Request, caller: Identity) -> SecondFactor:
    """Show whether a second factor is needed."""
    return await request.app[SECOND_FACTOR].shown(caller)


@routes.post(
    "/users/second-factor",
    status=201,
    response=NewFactor,
    errors=("already_exists", *confirmation.ERRORS),
    limit="auth",
)
async def begin_second_factor(request: web.Request, caller: Identity, body: Confirmed) -> NewFactor:
    """Begin to set up a second factor (TOTP).

    It is not needed before a code of the app confirms it.
    """
    return await request.app[SECOND_FACTOR].begin(caller, body, visitor(request))


@routes.post(
    "/users/second-factor/confirm",
    response=Enabled,
    errors=("not_found", "already_exists", "confirmation_failed"),
    limit="auth",
)
async def confirm_second_factor(request: web.Request, caller: Identity, body: FactorCode) -> Enabled:
    """Confirm the second factor by a code of the app.

    From now on it is needed to sign in. Answers the recovery codes, this once.
    """
    codes = await request.app[SECOND_FACTOR].confirm(caller, body.code, visitor(request))
    return Enabled(enabled=True, recovery_codes=codes)


@routes.post(
    "/users/second-factor/disable",
    status=204,
    errors=confirmation.ERRORS,
    limit="auth",
)
async def disable_second_factor(request: web.Request, caller: Identity, body: Confirmed) -> None:
    """Do without a second factor."""
    await request.app[SECOND_FACTOR].disable(caller, body, visitor(request))


@routes.post(
    "/users/second-factor/recovery-codes",
    response=RecoveryCodes,
    errors=("not_found", *confirmation.ERRORS),
    limit="auth",
)
async def renew_recovery_codes(request: web.Request, caller: Identity, body: Confirmed) -> RecoveryCodes:
    """Make new recovery codes.

    Earlier ones are worth nothing from now on. They are shown this once.
    """
    codes = await request.app[SECOND_FACTOR].new_codes(caller, body, visitor(request))
    return RecoveryCodes(recovery_codes=codes)


@routes.get("/users/security-log", response=LogPage)
async def list_security_log(request: web.Request, caller: Identity, query: LogQuery) -> LogPage:
    """List what happened to the account, the newest first."""
    return await request.app[PROFILES].log(caller, query)
