"""Guessing is slowed from wherever it comes; the owner is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fitai.gateways.bus.redis_counts import RedisCounts
from fitai.gateways.counts import Counts, MemoryCounts
from fitai.http.limits.sign_ins import SignIns, Slowing
from fitai.http.problems import Problem

ADA = "ada@example.com"
OWN_PHONE = "phone-of-ada"
HOUR = 3600


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


class World:
    """Sign-ins on a clock: `right` and `wrong` tell how many seconds a try is put off, 0 when it went on."""

    def __init__(self, counts: Counts, clock: Clock) -> None:
        self.clock = clock
        self.installed = {(ADA, OWN_PHONE)}
        self.sign_ins = SignIns(counts, self._known)

    async def _known(self, email: str, install_id: str) -> bool:
        return (email, install_id) in self.installed

    async def wrong(self, email: str = ADA, at: str = "203.0.113.1", on: str | None = None) -> int:
        try:
            await self.sign_ins.begin(email, at, on)
        except Problem as problem:
            return int(problem.headers["Retry-After"])
        return 0

    async def right(self, email: str = ADA, at: str = "203.0.113.1", on: str | None = None) -> int:
        try:
            going = await self.sign_ins.begin(email, at, on)
        except Problem as problem:
            return int(problem.headers["Retry-After"])
        await going.succeeded()
        return 0

    def wait(self, seconds: int) -> None:
        self.clock.now += seconds * 1000

    async def guesses(
        self, seconds: int, at: Any = lambda n: "203.0.113.1", email: Any = lambda n: ADA
    ) -> int:
        """How many guesses get through to the password in so many seconds, ten tries each second."""
        through = 0
        for n in range(seconds * 10):
            through += await self.wrong(email(n), at(n)) == 0
            self.clock.now += 100
        return through


@pytest.fixture
def world() -> World:
    clock = Clock()
    return World(MemoryCounts(clock), clock)


@pytest.fixture
async def redis_world(redis_url: str, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """The same in Redis, which has a clock of its own."""
    counts = RedisCounts(redis_url, prefix=f"s{id(request)}", alone=MemoryCounts(Clock()), within_s=5)
    yield World(counts, Clock())
    await counts.close()


def test_a_pause_doubles_up_to_a_bound():
    slowing = Slowing("x", 2, 10, forgets=True)
    assert [slowing.pause_s(n) for n in (0, 1, 2, 3, 4, 5, 6, 7, 10**9)] == [0, 0, 0, 1, 2, 4, 8, 10, 10]


async def test_wrong_tries_are_put_off_for_longer_each_time(world: World):
    assert [await world.wrong() for _ in range(6)] == [0] * 6
    waits = []
    for _ in range(12):
        waits.append(await world.wrong())
        world.wait(waits[-1])
        assert await world.wrong() == 0
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]


async def test_a_few_slips_cost_nothing_and_a_right_password_forgets_them(world: World):
    for _ in range(3):
        assert [await world.wrong() for _ in range(5)] == [0] * 5
        assert await world.right() == 0


async def test_guessing_from_one_address_comes_to_few_guesses(world: World):
    assert await world.guesses(HOUR) <= 20


async def test_guessing_from_many_addresses_comes_to_few_guesses(world: World):
    through = await world.guesses(HOUR, at=lambda n: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    assert through <= 20 + 6 + HOUR // 60 + 2


async def test_a_net_of_ipv6_addresses_is_one_address(world: World):
    assert await world.guesses(HOUR, at=lambda n: f"2001:db8::{n:x}") <= 20


async def test_few_guesses_at_each_of_many_accounts_come_to_few(world: World):
    assert await world.guesses(HOUR, email=lambda n: f"u{n}@example.com") <= 50 + 10 + HOUR // 300 + 2


async def test_the_owner_is_not_hindered_on_an_installation_or_at_an_address_that_is_known(world: World):
    assert await world.right(at="198.51.100.7") == 0  # at home, on a laptop that keeps no id
    await world.guesses(600, at=lambda n: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}")
    await world.guesses(600, at=lambda n: "203.0.113.1")

    assert await world.right(on=OWN_PHONE, at="203.0.113.1") == 0  # even from the attacker's network
    assert await world.right(at="198.51.100.7") == 0
    wait_s = await world.right(at="192.0.2.9", on="a new phone")  # neither is known
    assert wait_s <= 60
    world.wait(wait_s)
    assert await world.right(at="192.0.2.9", on="a new phone") == 0


async def test_a_stranger_who_names_an_installation_that_is_not_known_gains_nothing(world: World):
    through = 0
    for n in range(1000):
        through += await world.wrong(at=f"10.0.{n >> 8}.{n & 255}", on=f"guess-{n}") == 0
    assert through <= 21


async def test_who_holds_the_owners_phone_is_slowed_too(world: World):
    assert [await world.wrong(on=OWN_PHONE) for _ in range(7)] == [0] * 6 + [1]


async def test_a_revoked_installation_is_a_strangers(world: World):
    world.installed.clear()
    for _ in range(6):
        await world.wrong(at="192.0.2.1")
    assert await world.right(on=OWN_PHONE, at="192.0.2.1") > 0


async def test_an_own_account_does_not_clear_the_way_to_others(world: World):
    through = 0
    for n in range(600):
        through += await world.wrong(f"u{n}@example.com") == 0
        await world.right("mallory@example.com")
        world.wait(1)
    assert through <= 50 + 20


async def test_an_account_that_is_not_there_is_slowed_alike(world: World):
    there = [await world.wrong(ADA, "203.0.113.1") for _ in range(9)]
    not_there = [await world.wrong("nobody@example.com", "203.0.113.2") for _ in range(9)]
    assert there == not_there == [0] * 6 + [1] * 3


async def test_spellings_of_one_address_are_one_account(world: World):
    tries = [await world.wrong(email) for email in (ADA, ADA.upper(), f" {ADA} ") for _ in range(3)]
    assert tries == [0] * 6 + [1] * 3


async def test_counts_are_forgotten_after_a_day(world: World):
    for _ in range(10):
        await world.wrong()
    world.wait(86_401)
    assert [await world.wrong() for _ in range(6)] == [0] * 6


async def test_without_counts_nobody_is_slowed():
    async def never(email: str, install_id: str) -> bool:
        raise AssertionError

    sign_ins = SignIns(None, never)
    for _ in range(100):
        await (await sign_ins.begin(ADA, "203.0.113.1", OWN_PHONE)).succeeded()


async def test_tries_at_one_moment_do_not_slip_through(redis_world: World, world: World):
    for each in (world, redis_world):
        told = await asyncio.gather(*(each.wrong() for _ in range(40)))
        assert told.count(0) == 6
        assert all(wait >= 1 for wait in told if wait)
        assert await each.right(on=OWN_PHONE) == 0


async def test_a_right_password_takes_back_its_own_try_in_redis_too(redis_world: World):
    for _ in range(30):
        assert await redis_world.right() == 0
    assert [await redis_world.wrong() for _ in range(6)] == [0] * 6
    assert await redis_world.wrong() >= 1


async def test_sign_in_over_rest_is_slowed_and_the_known_phone_is_not(make_api: Any):
    clock = Clock()
    api = await make_api(counts=MemoryCounts(clock))
    ada = await api.register(install_id=OWN_PHONE)
    device = {"name": "x", "platform": "test"}

    async def login(password: str, **more: str) -> Any:
        body = {"email": ada.email, "password": password, "device": device | more}
        return await api.call("POST", "/auth/login", body)

    codes = [(await login("wrong")).code for _ in range(8)]
    refused = await login(ada.password)

    assert codes == ["invalid_credentials"] * 6 + ["later"] * 2
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "later", "1")
    assert (await login(ada.password, install_id=OWN_PHONE)).status == 200
    clock.now += 1000
    assert (await login(ada.password)).status == 200
