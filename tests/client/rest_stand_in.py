"""The REST twins over a `Stream`: STANDS IN for `fitai.http` until its sync routes are there, then goes.

The same paths, bodies, codes and shapes. Tokens are readable, so that a test can spoil one.
"""

from __future__ import annotations

import itertools
from typing import Any

import orjson
from aiohttp import web

from tests.client.stand_in import Stream

Json = dict[str, Any]

STATUS = {"later": 429, "unavailable": 503, "gap": 409, "equivocation": 409, "epoch": 409, "base_ahead": 409}


class RestStandIn:
    """Serves as many users as register; `expired` are access tokens that are over."""

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.port = 0
        self.streams: dict[str, Stream] = {}  # by e-mail address
        self.installs: dict[tuple[str, str], int] = {}
        self.sessions: dict[str, tuple[str, int]] = {}
        self.refresh: dict[str, tuple[str, int]] = {}
        self.expired: set[str] = set()
        self.requests: list[str] = []
        self._ids = itertools.count(1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/auth/{way:register|login}", self._sign_in)
        app.router.add_post("/auth/refresh", self._refresh)
        app.router.add_post("/auth/devices", self._fork)
        app.router.add_post("/sync/push", self._push)
        app.router.add_get("/sync/pull", self._pull)
        app.router.add_get("/sync/snapshot", self._snapshot)
        return app

    def session(self, email: str, device: int) -> Json:
        access, refresh = f"access {next(self._ids)}", f"refresh {next(self._ids)}"
        self.sessions[access] = self.refresh[refresh] = (email, device)
        user = {"id": self.streams[email].user, "email": email, "display_name": None}
        tokens = {"access_token": access, "refresh_token": refresh, "token_type": "Bearer", "expires_in": 900}
        return {"user": user, "device": {"id": device, "name": "phone"}, **tokens}

    async def _sign_in(self, request: web.Request) -> web.Response:
        body = await request.json()
        email = body["email"]
        if request.match_info["way"] == "register":
            self.streams[email] = Stream(**self.options)
        elif email not in self.streams:
            return _problem("invalid_credentials", 401)
        return web.json_response(self.session(email, self._device(email, body["device"]["install_id"])))

    def _device(self, email: str, install_id: str) -> int:
        if (email, install_id) not in self.installs:
            self.installs[email, install_id] = self.streams[email].enrol()
        return self.installs[email, install_id]

    async def _refresh(self, request: web.Request) -> web.Response:
        token = (await request.json())["refresh_token"]
        if token not in self.refresh:
            return _problem("invalid_refresh_token", 401)
        return web.json_response(self.session(*self.refresh.pop(token)))

    async def _fork(self, request: web.Request) -> web.Response:
        email, device = self._caller(request)
        body = await request.json()
        install = (email, body["install_id"])
        if install not in self.installs:
            self.installs[install] = self.streams[email].fork(device, body["fork_at"])
        session = self.session(email, self.installs[install])
        return web.json_response({**session, "install_id": body["install_id"]}, status=201)

    async def _push(self, request: web.Request) -> web.Response:
        email, device = self._caller(request)
        return _answer(self.streams[email].push(device, orjson.loads(await request.read())))

    async def _pull(self, request: web.Request) -> web.Response:
        email, device = self._caller(request)
        stream, query = self.streams[email], request.query
        answer = stream.pull(int(query["after"]), int(query.get("limit", 500)))
        return _answer({**answer, "next_n": stream.position(device).next_n})

    async def _snapshot(self, request: web.Request) -> web.Response:
        email, _ = self._caller(request)
        at = request.query.get("at")
        page = self.streams[email].snapshot(None if at is None else int(at), request.query.get("after"))
        return _answer(page)

    def _caller(self, request: web.Request) -> tuple[str, int]:
        self.requests.append(request.path)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        code = "token_expired" if token in self.expired else "unauthorized"
        if token not in self.sessions or token in self.expired:
            raise web.HTTPUnauthorized(
                text=orjson.dumps({"code": code}).decode(), content_type="application/problem+json"
            )
        return self.sessions[token]


def _answer(answer: Json) -> web.Response:
    status = 200 if answer["ok"] else STATUS.get(answer["code"], 400)
    return web.json_response(answer, status=status)


def _problem(code: str, status: int) -> web.Response:
    return web.json_response({"code": code}, status=status, content_type="application/problem+json")
