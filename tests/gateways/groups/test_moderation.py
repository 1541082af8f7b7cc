"""The moderation hook, against a real server on loopback: what it says holds, and when it says nothing of use
a message is held."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from fitai.gateways import meters
from fitai.gateways.groups.moderation import AT_ONCE, MOST, REASON, Review, Unmoderated, Webhook

SECRET = "signs-the-requests-to-the-hook"
NOW = 1_780_000_000_000
GROUP = "018f0000-0000-7000-8000-0000000000aa"
UNAVAILABLE = Review("hold", "unavailable")


class Hook:
    """A moderation service that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = []
        self.said = {"action": "pass"}
        self.hangs = False
        self.gone = asyncio.Event()
        self.url = ""
        self._runner: Any = None

    async def start(self):
        app = web.Application()
        app.router.add_post("/messages", self._messages)
        app.router.add_post("/elsewhere", self._messages)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/messages"

    async def stop(self):
        self.gone.set()
        await self._runner.cleanup()

    async def _messages(self, request):
        self.asked.append((request.headers, await request.read(), request.path))
        if self.hangs:
            await self.gone.wait()
        if isinstance(self.said, web.Response):
            return self.said
        return web.json_response(self.said)


@pytest.fixture
async def hook():
    hook = Hook()
    await hook.start()
    yield hook
    await hook.stop()


@pytest.fixture
async def moderation(hook):
    webhook = Webhook(hook.url, SECRET, lambda: NOW, timeout_s=5.0)
    yield webhook
    await webhook.close()


def counted(outcome):
    return meters.MODERATIONS.labels(outcome)._value.get()


@pytest.mark.parametrize(
    ("said", "review"),
    [
        ({"action": "pass"}, Review("pass")),
        ({"action": "hold", "reason": "link"}, Review("hold", "link")),
        ({"action": "drop", "reason": "insult"}, Review("drop", "insult")),
        ({"action": "drop"}, Review("drop")),
        ({"action": "drop", "reason": "", "score": 0.9}, Review("drop")),
        ({"action": "hold", "reason": "x" * 1000}, Review("hold", "x" * REASON)),
    ],
)
async def test_what_the_service_says_holds(hook, moderation, said, review):
    hook.said, before = said, counted(said["action"])
    assert await moderation.review(GROUP, 3, "hello") == review
    assert counted(said["action"]) == before + 1


async def test_the_request_is_signed_and_says_no_more_than_it_must(hook, moderation):
    await moderation.review(GROUP, 3, "grüezi \U0001f4aa")
    [(headers, body, _)] = hook.asked
    assert headers["Content-Type"] == "application/json"
    assert headers["FitAI-Timestamp"] == str(NOW // 1000)
    signed = f"{NOW // 1000}.".encode() + body
    expected = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert headers["FitAI-Signature"] == f"v1={expected}"
    assert body == f'{{"group":"{GROUP}","member":3,"text":"grüezi \U0001f4aa"}}'.encode()


@pytest.mark.parametrize(
    "said",
    [
        {"action": "allow"},
        {"action": ["pass"]},
        {},
        ["pass"],
        {"action": "pass", "reason": 7},
        web.Response(text="pass"),
        web.Response(status=204),
        web.Response(status=500, text='{"action": "pass"}'),
        web.Response(status=307, headers={"Location": "/elsewhere"}),
        web.Response(body=b'{"action": "pass", "x": "' + b"x" * MOST + b'"}'),
        web.Response(body=b"\xff\xfe"),
    ],
    ids=lambda said: repr(said)[:40],
)
async def test_what_is_no_answer_holds_the_message(hook, moderation, said):
    hook.said, before = said, counted("unavailable")
    assert await moderation.review(GROUP, 3, "hello") == UNAVAILABLE
    assert counted("unavailable") == before + 1
    assert [path for *_, path in hook.asked] == ["/messages"], "nobody is asked whom it redirects to"


async def test_who_answers_late_is_not_waited_for(hook):
    hook.hangs = True
    webhook = Webhook(hook.url, SECRET, lambda: NOW, timeout_s=0.1)
    assert await webhook.review(GROUP, 3, "hello") == UNAVAILABLE
    assert len(hook.asked) == 1
    await webhook.close()


async def test_many_that_wait_for_a_connection_are_not_waited_for_longer(hook):
    """Each message has its own time: a hook that hangs does not let those behind it queue up."""
    hook.hangs = True
    webhook = Webhook(hook.url, SECRET, lambda: NOW, timeout_s=1.0)
    reviews = await asyncio.gather(*(webhook.review(GROUP, 3, "hello") for _ in range(200)))
    assert set(reviews) == {UNAVAILABLE}
    # Of those that began last some find a connection that one of the first has just given up.
    assert 0 < len(hook.asked) < 2 * AT_ONCE, "the others were held without being asked about"
    await webhook.close()


async def test_an_absent_service_holds_all_and_is_logged_once_until_it_is_back(hook, moderation):
    await hook.stop()
    with capture_logs() as told:
        for _ in range(3):
            assert await moderation.review(GROUP, 3, "knee hurts") == UNAVAILABLE
    assert [line["log_level"] for line in told] == ["warning", "debug", "debug"]
    assert "knee" not in str(told) and hook.url not in str(told)


async def test_it_passes_again_when_the_service_is_back(hook, moderation):
    hook.said = web.Response(status=503)
    assert await moderation.review(GROUP, 3, "hello") == UNAVAILABLE
    hook.said = {"action": "pass"}
    with capture_logs() as told:
        assert await moderation.review(GROUP, 3, "hello") == Review("pass")
    assert told == []


async def test_without_a_hook_everything_stands():
    moderation = Unmoderated()
    assert await moderation.review(GROUP, 3, "hello") == Review("pass")
    await moderation.close()
