"""The promises of gateways/bus/contract.py, held against every bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fitai.gateways.bus.contract import Bus, Message
from fitai.gateways.bus.memory import MemoryBus, MemoryHub


@pytest.fixture(params=["memory"])
async def buses(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bus, Bus]]:
    """Two nodes' buses of one installation."""
    hub = MemoryHub()
    pair = (MemoryBus(hub), MemoryBus(hub))
    for bus in pair:
        await bus.start()
    yield pair
    for bus in pair:
        await bus.close()


async def settled(got: list[Any], count: int) -> None:
    for _ in range(200):
        if len(got) >= count:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{len(got)} of {count} messages came")


async def test_a_message_reaches_every_subscription_on_every_node_in_publish_order(
    buses: tuple[Bus, Bus],
) -> None:
    here: list[Message] = []
    there: list[Message] = []
    buses[0].subscribe("t", here.append)
    buses[1].subscribe("t", there.append)
    buses[1].subscribe("other", there.append)
    for n in range(50):
        buses[0].publish("t", {"n": n})
    await settled(there, 50)
    await settled(here, 50)
    assert [m["n"] for m in here] == [m["n"] for m in there] == list(range(50))


async def test_publishing_returns_before_anything_is_delivered(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    buses[0].subscribe("t", got.append)
    buses[0].publish("t", {})
    assert got == []
    await settled(got, 1)


async def test_a_listener_that_raises_harms_no_other(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []

    def broken(_: Message) -> None:
        raise RuntimeError("broken listener")

    buses[0].subscribe("t", broken)
    buses[0].subscribe("t", got.append)
    buses[1].publish("t", {"n": 1})
    buses[1].publish("t", {"n": 2})
    await settled(got, 2)


async def test_unsubscribing_twice_is_once_and_closing_ends_all(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    stop = buses[0].subscribe("t", got.append)
    stop()
    stop()
    keep: list[Message] = []
    buses[1].subscribe("t", keep.append)
    buses[0].publish("t", {})
    await settled(keep, 1)
    assert got == []
    await buses[1].close()
    buses[0].publish("t", {})
    assert await buses[0].probe(1.0)
    assert len(keep) == 1


async def test_a_probe_comes_back(buses: tuple[Bus, Bus]) -> None:
    assert await buses[0].probe(1.0)
