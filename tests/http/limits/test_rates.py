from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from fitai.gateways.bus.redis_counts import RedisCounts
from fitai.gateways.counts import Counts, MemoryCounts
from fitai.gateways.identity import Identity
from fitai.http import boundary, frame, proxies
from fitai.http.frame import Routes
from fitai.http.limits.rates import Limiter, Rates, standing
from tests.redis_servers import RedisServer

RATES = Rates(default_per_minute=3, auth_per_minute=2, mail_per_hour=1, heavy_per_minute=1, people=2)

counted = Routes("counted")


@counted.get("/open", status=204)
async def anybody(request: web.Request) -> None:
    """Be open."""


@counted.get("/mine", status=204, scope="things:read")
async def mine(request: web.Request, caller: Identity) -> None:
    """Be mine."""


@counted.get("/mail", status=204, limit="mail")
async def mail(request: web.Request) -> None:
    """Send a mail."""


@counted.get("/heavy", status=204, limit="heavy")
async def heavy(request: web.Request, caller: Identity) -> None:
    """Take long."""


@counted.get("/free", status=204, limit=None)
async def free(request: web.Request) -> None:
    """Be free."""


class Door:
    """A token is the name of its user; `x:` before it is a token that may read things."""

    async def read(self, token: str) -> Identity:
        scopes = frozenset({"things:write"}) if token.startswith("x:") else None
        return Identity(token.removeprefix("x:"), 1, 0, scopes)

    async def authenticate(self, token: str) -> Identity:
        return await self.read(token)

    async def confirm(self, identity: Identity) -> None: ...


class Clock:
    now = 6_000_000

    def __call__(self) -> int:
        return self.now


Get = Callable[..., Awaitable[Any]]


@pytest.fixture
async def served(aiohttp_client: Any) -> AsyncIterator[Callable[[Counts | None], Awaitable[Get]]]:
    clients: list[TestClient[Any, Any]] = []

    async def serve(counts: Counts | None) -> Get:
        app = web.Application()
        boundary.install(app)
        proxies.install(app, [ip_network("127.0.0.0/8")])
        app[frame.AUTHENTICATOR] = Door()
        if counts is not None:
            app[frame.LIMITER] = Limiter(counts, RATES)
        frame.install(app, counted.declared)
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)

        async def get(path: str, *, at: str = "203.0.113.1", as_: str | None = None) -> Any:
            headers = {"X-Forwarded-For": at}
            if as_ is not None:
                headers["Authorization"] = f"Bearer {as_}"
            return await client.get(path, headers=headers)

        return get

    yield serve
    for client in clients:
        await client.close()


def told(response: Any) -> tuple[int, ...]:
    return tuple(int(response.headers[f"RateLimit-{name}"]) for name in ("Limit", "Remaining", "Reset"))


async def statuses(get: Get, path: str, times: int, **how: Any) -> list[int]:
    return [(await get(path, **how)).status for _ in range(times)]


async def test_an_address_has_its_share_and_is_told_what_is_left_and_when_to_come_back(served):
    clock = Clock()
    get = await served(MemoryCounts(clock))

    answers = [await get("/open") for _ in range(7)]

    assert [answer.status for answer in answers] == [204] * 6 + [429]
    assert [told(answer) for answer in answers[:2]] == [(6, 5, 60), (6, 4, 60)]
    assert told(answers[-1]) == (6, 0, 60)
    problem = await answers[-1].json(content_type=None)
    assert problem["code"] == "later"
    wait_s = int(answers[-1].headers["Retry-After"])
    assert problem["retry_after_ms"] == wait_s * 1000
    clock.now += (wait_s - 2) * 1000
    assert (await get("/open")).status == 429
    clock.now += 2_000
    assert (await get("/open")).status == 204


async def test_addresses_do_not_share_and_a_customer_of_ipv6_is_one(served):
    get = await served(MemoryCounts(Clock()))

    assert (await statuses(get, "/open", 6)).count(204) == 6
    assert await statuses(get, "/open", 1, at="203.0.113.2") == [204]
    for n in range(6):
        assert await statuses(get, "/open", 1, at=f"2001:db8::{n}") == [204]
    assert await statuses(get, "/open", 1, at="2001:db8::ffff:1") == [429]
    assert await statuses(get, "/open", 1, at="2001:db8:0:1::1") == [204]


async def test_an_account_has_its_share_wherever_it_calls_from(served):
    get = await served(MemoryCounts(Clock()))

    answers = [await get("/mine", at=f"203.0.113.{n}", as_="ada") for n in range(4)]

    assert [answer.status for answer in answers] == [204, 204, 204, 429]
    assert told(answers[0]) == (3, 2, 60)
    assert await statuses(get, "/mine", 1, as_="bob") == [204]


async def test_what_has_least_left_is_told(served):
    get = await served(MemoryCounts(Clock()))

    for _ in range(5):
        await get("/open")
    assert told(await get("/mine", as_="ada")) == (6, 0, 60)  # the address, not ada who has 2 of 3 left


async def test_classes_are_counted_apart_and_some_routes_not_at_all(served):
    get = await served(MemoryCounts(Clock()))

    assert await statuses(get, "/mail", 3) == [204, 204, 429]
    assert await statuses(get, "/heavy", 2, as_="ada") == [204, 429]
    assert await statuses(get, "/open", 1) == [204]
    answers = [await get("/free") for _ in range(20)]
    assert {answer.status for answer in answers} == {204}
    assert "RateLimit-Limit" not in answers[0].headers


async def test_mail_is_counted_by_the_hour(served):
    clock = Clock()
    get = await served(MemoryCounts(clock))

    assert await statuses(get, "/mail", 3) == [204, 204, 429]
    clock.now += 60_000
    refused = await get("/mail")
    assert refused.status == 429
    clock.now += int(refused.headers["Retry-After"]) * 1000
    assert await statuses(get, "/mail", 1) == [204]


async def test_a_refused_token_counts_for_the_address_and_not_for_the_account(served):
    get = await served(MemoryCounts(Clock()))

    assert await statuses(get, "/mine", 3, as_="x:ada") == [403] * 3
    assert await statuses(get, "/mine", 3, as_="ada") == [204] * 3
    assert await statuses(get, "/mine", 1, as_="bob") == [429]


async def test_without_counts_nothing_is_counted(served):
    get = await served(None)

    answers = [await get("/open") for _ in range(20)]
    assert {answer.status for answer in answers} == {204}
    assert "RateLimit-Limit" not in answers[0].headers


async def test_nodes_with_a_redis_count_together(served, redis_server: RedisServer):
    shared = [
        RedisCounts(redis_server.url, prefix="t", alone=MemoryCounts(Clock()), within_s=5) for _ in range(2)
    ]
    here, there = [await served(counts) for counts in shared]

    assert await statuses(here, "/open", 4) == [204] * 4
    answers = [await there("/open") for _ in range(3)]

    assert [answer.status for answer in answers] == [204, 204, 429]
    limit, remaining, reset_s = told(answers[0])
    assert (limit, remaining) == (6, 1)
    assert 0 < reset_s <= 60
    assert 0 < int(answers[-1].headers["Retry-After"]) <= 120
    for counts in shared:
        await counts.close()


async def test_a_silent_redis_fails_no_request(served, redis_server: RedisServer):
    counts = RedisCounts(redis_server.url, prefix="t", alone=MemoryCounts(Clock()), within_s=0.25)
    get = await served(counts)
    redis_server.freeze()

    assert await statuses(get, "/open", 8) == [204] * 6 + [429] * 2  # by this node's own counts
    await counts.close()


@pytest.mark.parametrize(
    ("window", "remaining", "wait_s"),
    [
        ((0, 60, 0, 120), 10, 0),
        ((0, 60, 9, 70), 1, 0),
        ((0, 60, 10, 70), 0, 11),  # all of this window: room as soon as it is the one before
        ((10, 60, 0, 120), 0, 1),
        ((20, 60, 0, 120), 0, 31),  # half of it has to go
        ((10, 30, 5, 90), 0, 1),
        ((10, 30, 7, 90), 0, 13),
        ((5, 60, 20, 61), 0, 32),  # one second of this window, then half of it has to go
    ],
)
def test_when_there_is_room_again(window: Any, remaining: int, wait_s: int):
    now = standing(10, 60, *window)
    assert (now.remaining, now.wait_s) == (remaining, wait_s)
