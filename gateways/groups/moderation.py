"""Moderation: somebody else looks at what is said in a group before it is told.

With FITAI_MODERATION_URL each message is put to a webhook:

    POST <url>
    FitAI-Timestamp: 1780000000                          Unix s
    FitAI-Signature: v1=<hex>                            HMAC-SHA256(secret, timestamp + "." + body)
    {"group": "0192…", "member": 3, "text": "…"}

    200 {"action": "pass" | "hold" | "drop", "reason"?: "…"}

`pass` lets it stand, `hold` keeps it from others until an admin looked at it, `drop` refuses it with the
reason, which its author is told. `member` is the author's number in that group: no user's id leaves. What
fails or is late is held as `unavailable`: nobody's message is lost, and none goes round the hook.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from typing import Final, Literal, Protocol, get_args

import aiohttp
import orjson
import structlog
from msgspec import Struct

from fitai.gateways import meters

_log = structlog.get_logger(__name__)

Action = Literal["pass", "hold", "drop"]

TIMEOUT_S: Final = 2.0
AT_ONCE: Final = 32  # reviews on their way; the others wait, within their time
MOST: Final = 4_096  # bytes of an answer
REASON: Final = 200  # characters
UNAVAILABLE: Final = "unavailable"


class Review(Struct, frozen=True):
    """What becomes of a message, and why."""

    action: Action
    reason: str | None = None


class Moderation(Protocol):
    """Whoever decides what becomes of messages."""

    async def review(self, group: str, member: int, text: str) -> Review:
        """What becomes of a message that could stand. Raises nothing, and answers in `TIMEOUT_S`."""

    async def close(self) -> None:
        """No more reviews."""


class Unmoderated:
    """Everything stands."""

    async def review(self, group: str, member: int, text: str) -> Review:
        """It stands."""
        return _PASSED

    async def close(self) -> None:
        """Nothing is open."""


class Webhook:
    """Asks a service at `url` (http or https), in requests that are signed with `secret`."""

    def __init__(
        self, url: str, secret: str, now_ms: Callable[[], int], *, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._url = url
        self._secret = secret.encode()
        self._now_ms = now_ms
        self._timeout_s = timeout_s
        self._http: aiohttp.ClientSession | None = None
        self._trouble = False

    async def review(self, group: str, member: int, text: str) -> Review:
        """What the service says; held as unavailable when it says nothing of use in time."""
        body = orjson.dumps({"group": group, "member": member, "text": text})
        try:
            async with asyncio.timeout(self._timeout_s):
                review = _read(await self._ask(body))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            self._failed(error)
            return _HELD
        self._trouble = False
        meters.MODERATIONS.labels(review.action).inc()
        return review

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _ask(self, body: bytes) -> bytes:
        timestamp = str(self._now_ms() // 1000)
        headers = {
            "Content-Type": "application/json",
            "FitAI-Timestamp": timestamp,
            "FitAI-Signature": f"v1={signature(self._secret, timestamp, body)}",
        }
        # What it would redirect to was not named by the operator.
        asked = self._session().post(self._url, data=body, headers=headers, allow_redirects=False)
        async with asked as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            answer = bytearray()
            async for part in response.content.iter_any():
                answer += part
                if len(answer) > MOST:
                    raise ValueError(f"more than {MOST} bytes")
            return bytes(answer)

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            # The time is bounded around it all, the wait for a connection included.
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=AT_ONCE),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http

    def _failed(self, error: Exception) -> None:
        meters.MODERATIONS.labels(UNAVAILABLE).inc()
        # Once in a row: while it is away each message would say so.
        (_log.debug if self._trouble else _log.warning)(
            "moderation_unavailable", error=type(error).__name__, why=_why(error)
        )
        self._trouble = True


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Hex digits that show who sent a request and when; the service works them out as well."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


_PASSED: Final = Review("pass")
_HELD: Final = Review("hold", UNAVAILABLE)


def _read(answer: bytes) -> Review:
    """A service's answer; raises ValueError."""
    said = orjson.loads(answer)
    if not isinstance(said, dict) or said.get("action") not in get_args(Action):
        raise ValueError("no action that we know")
    reason = said.get("reason")
    if reason is not None and not isinstance(reason, str):
        raise ValueError("a reason that is no text")
    return Review(said["action"], reason[:REASON] if reason else None)


def _why(error: Exception) -> str | None:
    """A reason of our own; those of libraries may quote the URL, which may hold a password."""
    return str(error) if type(error) is ValueError else None
