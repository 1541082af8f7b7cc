"""The protocol over its REST twins: nothing comes by itself, so the core pulls."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fitai.gateways.client import messages as m
from fitai.gateways.client.account import Denied, Http, Offline
from fitai.gateways.client.messages import Json
from fitai.gateways.client.transport import Hear


class RestTransport:
    """`POST /sync/push` and `GET /sync/pull`; see `Transport`."""

    def __init__(self, http: Http, hear: Hear, now_ms: Callable[[], int]) -> None:
        self._http = http
        self._hear = hear
        self._now_ms = now_ms
        self._token = ""
        self._closed = False

    async def open(self, token: str, cursor: Json | None) -> None:
        """There is no connection: a first small pull says which log this is and how far it goes."""
        self._token = token
        try:
            answer = await self._http.call("GET", "/sync/pull", token=token, after=0, limit=1)
        except Denied as denied:
            self._say(m.Refused(denied.code, retry=denied.status in (429, 503) or denied.status >= 500))
        except Offline:
            self._say(m.Lost())
        else:
            self._say(m.Connected(answer["epoch"], answer["head"], live=False, next_n=answer.get("next_n")))

    async def push(self, ops: Sequence[Json], epoch: str) -> None:
        """Send ops."""
        body = {"ops": list(ops), "epoch": epoch, "sent_at": self._now_ms()}
        answer = await self._ask("POST", "/sync/push", body=body)
        if answer is not None:
            self._say(m.Pushed(answer))

    async def pull(self, after: int, limit: int) -> None:
        """Ask for records."""
        answer = await self._ask("GET", "/sync/pull", after=after, limit=limit)
        if answer is not None:
            self._say(m.Pulled(answer))

    async def renew(self, token: str) -> None:
        """From the next request on."""
        self._token = token

    async def close(self) -> None:
        """Say nothing more."""
        self._closed = True

    async def _ask(self, method: str, path: str, body: Json | None = None, **query: int) -> Json | None:
        """The answer, `ok` or not; None when the server could not be reached."""
        try:
            answer = await self._http.call(method, path, token=self._token, body=body, **query)
        except Denied as denied:
            return {**denied.problem, "ok": False, "code": denied.code}
        except Offline:
            self._say(m.Lost())
            return None
        return {"ok": True, **answer}

    def _say(self, event: m.Event) -> None:
        if not self._closed:
            self._closed = isinstance(event, (m.Lost, m.Refused))
            self._hear(event)
