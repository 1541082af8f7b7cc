"""Leases: one holder at a time, and never one for ever."""

import asyncio

from fitai.persistence.leases import Leases

LIFE = 10_000


async def take(db, node, now, name="timers"):
    async with db.write() as session:
        return await Leases(session).take(name, node, now=now, life_ms=LIFE)


async def test_one_node_holds_a_lease_until_it_ends(db):
    assert await take(db, "a", 1_000)
    assert not await take(db, "b", 10_999)
    assert await take(db, "b", 11_000)
    assert not await take(db, "a", 11_001)


async def test_the_holder_holds_it_anew(db):
    assert await take(db, "a", 1_000)
    assert await take(db, "a", 9_000)
    assert not await take(db, "b", 18_999)
    assert await take(db, "b", 19_000)


async def test_leases_of_different_names_are_different(db):
    assert await take(db, "a", 1_000)
    assert await take(db, "b", 1_000, name="other")


async def test_a_clock_years_ahead_holds_nobody_up(db):
    assert await take(db, "ahead", 1_000 + 10**12)
    assert await take(db, "b", 1_000)
    assert not await take(db, "c", 1_001)


async def test_of_those_who_ask_at_once_one_gets_it(db):
    got = await asyncio.gather(*(take(db, str(node), 1_000) for node in range(8)))
    assert sum(got) == 1
