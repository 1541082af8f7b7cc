"""Signing in, and staying so: the few REST calls that a client needs besides sync.

Raises `Denied` when the server says no, `Offline` when it could not be asked.
"""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from fitai.gateways.client.messages import Json

REQUEST_S = 30.0


class Offline(Exception):
    """The server could not be reached, or did not answer."""


class Denied(Exception):
    """The server refused. `code` is for programs (`invalid_credentials`, `refresh_token_reused`, …)."""

    def __init__(self, status: int, problem: Json) -> None:
        self.status = status
        self.code = str(problem.get("code", "unavailable" if status >= 500 else "bad_request"))
        self.problem = problem
        super().__init__(f"{self.code}: {problem.get('detail') or problem.get('title') or status}")


class Http:
    """One HTTP session to one server; what it answers is JSON."""

    def __init__(self, url: str, *, timeout_s: float = REQUEST_S) -> None:
        self.url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, path: str, *, token: str | None = None, body: Any = None, **query: Any
    ) -> Json:
        """The answer's object; raises Denied or Offline. A `query` of None is left out."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        params = {key: str(value) for key, value in query.items() if value is not None}
        data = None if body is None else orjson.dumps(body)
        try:
            async with self.session.request(
                method, self.url + path, data=data, headers=headers, params=params
            ) as response:
                return _object(response.status, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Offline(str(error) or type(error).__name__) from error

    @property
    def session(self) -> aiohttp.ClientSession:
        """Made when it is first used, in the loop that runs then."""
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(timeout=self._timeout)
        return self._session

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


def _object(status: int, body: bytes) -> Json:
    try:
        answer = orjson.loads(body) if body else {}
    except orjson.JSONDecodeError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    if status >= 400:
        raise Denied(status, answer)
    return answer


class Account:
    """The calls under /auth."""

    def __init__(self, http: Http) -> None:
        self._http = http

    async def register(
        self, email: str, password: str, device: Json, display_name: str | None = None
    ) -> Json:
        """A new user on this device; returns the session's object."""
        body = {"email": email, "password": password, "device": device}
        if display_name is not None:
            body["display_name"] = display_name
        return await self._http.call("POST", "/auth/register", body=body)

    async def login(self, email: str, password: str, device: Json) -> Json:
        """A known user on this device."""
        body = {"email": email, "password": password, "device": device}
        return await self._http.call("POST", "/auth/login", body=body)

    async def refresh(self, refresh_token: str) -> Json:
        """New tokens; the old refresh token is spent by that."""
        return await self._http.call("POST", "/auth/refresh", body={"refresh_token": refresh_token})

    async def fork(self, token: str, fork_at: int, install_id: str) -> Json:
        """A device of its own for this copy. The same `install_id` again is the same fork."""
        body = {"fork_at": fork_at, "install_id": install_id}
        return await self._http.call("POST", "/auth/devices", token=token, body=body)
