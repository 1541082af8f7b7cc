"""The promises of gateways/bus/contract.py, held against every bus."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from fitai.gateways.bus.contract import Bus, Listener, Message, Unsubscribe
from fitai.gateways.bus.memory import MemoryBus, MemoryHub
from fitai.gateways.bus.redis import RedisBus
from tests.redis_servers import RedisCluster

SECRET = b"the secret of one installation"


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    cluster = RedisCluster().start()
    yield cluster.url
    cluster.remove()


@pytest.fixture(params=["memory", "redis", "redis cluster"])
async def buses(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bus, Bus]]:
    """Two nodes' buses of one installation."""
    pair: tuple[Bus, Bus]
    if request.param == "memory":
        hub = MemoryHub()
        pair = (MemoryBus(hub), MemoryBus(hub))
    else:
        url = request.getfixturevalue("redis_url" if request.param == "redis" else "cluster_url")
        prefix = uuid.uuid4().hex
        pair = (RedisBus(url, secret=SECRET, prefix=prefix), RedisBus(url, secret=SECRET, prefix=prefix))
    for bus in pair:
        await bus.start()
    yield pair
    for bus in pair:
        await bus.close()


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to that")


async def listen(bus: Bus, topic: str, listener: Listener) -> Unsubscribe:
    """Subscribe, and return when the subscription stands."""
    stands = asyncio.Event()
    stop = bus.subscribe(topic, listener, stands.set)
    assert not stands.is_set()
    await asyncio.wait_for(stands.wait(), 5)
    return stop


async def test_a_message_reaches_every_subscription_on_every_node_in_publish_order(
    buses: tuple[Bus, Bus],
) -> None:
    here: list[Message] = []
    there: list[Message] = []
    other: list[Message] = []
    await listen(buses[0], "t", here.append)
    await listen(buses[1], "t", there.append)
    await listen(buses[1], "other", other.append)
    for n in range(50):
        buses[0].publish("t", {"n": n})
        if n % 7 == 0:
            await asyncio.sleep(0)
    await until(lambda: len(there) >= 50 and len(here) >= 50)
    assert [m["n"] for m in here] == [m["n"] for m in there] == list(range(50))
    assert other == []


async def test_many_topics_are_kept_apart(buses: tuple[Bus, Bus]) -> None:
    got: dict[int, list[Message]] = {n: [] for n in range(40)}
    for n, messages in got.items():
        await listen(buses[1], f"user:{n}", messages.append)
    for n in got:
        buses[0].publish(f"user:{n}", {"to": n})
    await until(lambda: all(got.values()))
    assert got == {n: [{"to": n}] for n in got}


async def test_a_message_comes_as_msgpack_brings_it_back_on_every_node(buses: tuple[Bus, Bus]) -> None:
    here: list[Message] = []
    there: list[Message] = []
    await listen(buses[0], "t", here.append)
    await listen(buses[1], "t", there.append)
    message = {"a": (1, 2), "b": b"\x00\xff", "c": {"d": [None, True, 1.5, "é"]}}
    buses[0].publish("t", message)
    message["a"] = (3,)
    await until(lambda: bool(here and there))
    assert here == there == [{"a": [1, 2], "b": b"\x00\xff", "c": {"d": [None, True, 1.5, "é"]}}]


async def test_a_message_that_can_not_be_packed_raises_nothing_and_stops_nothing(
    buses: tuple[Bus, Bus],
) -> None:
    got: list[Message] = []
    await listen(buses[1], "t", got.append)
    buses[0].publish("t", {"n": object()})
    buses[0].publish("t", {"n": 1})
    await until(lambda: bool(got))
    assert got == [{"n": 1}]


async def test_publishing_returns_before_anything_is_delivered(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    await listen(buses[0], "t", got.append)
    buses[0].publish("t", {})
    assert got == []
    await until(lambda: got == [{}])


async def test_a_listener_that_raises_harms_no_other(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []

    def broken(_: Message) -> None:
        raise RuntimeError("broken listener")

    await listen(buses[0], "t", broken)
    await listen(buses[0], "t", got.append)
    buses[1].publish("t", {"n": 1})
    buses[1].publish("t", {"n": 2})
    await until(lambda: len(got) == 2)


async def test_every_listener_is_told_when_its_subscription_stands(buses: tuple[Bus, Bus]) -> None:
    told: list[str] = []
    buses[0].subscribe("t", lambda _: None, lambda: told.append("first"))
    buses[0].subscribe("t", told.append, lambda: told.append("second"))  # type: ignore[arg-type]
    assert told == []
    await until(lambda: len(told) == 2)
    await listen(buses[0], "t", lambda _: None)
    assert sorted(told) == ["first", "second"]


async def test_who_has_left_is_told_nothing(buses: tuple[Bus, Bus]) -> None:
    told: list[str] = []
    buses[0].subscribe("t", lambda _: None, lambda: told.append("gone"))()
    buses[0].subscribe("t", lambda _: None, lambda: told.append("stays"))
    buses[0].subscribe("t", lambda _: None, lambda: told.append("gone"))()
    await listen(buses[0], "t", lambda _: None)
    assert told == ["stays"]


async def test_subscribing_twice_is_once(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    listener = got.append
    await listen(buses[1], "t", listener)
    await listen(buses[1], "t", listener)
    buses[0].publish("t", {"n": 1})
    buses[0].publish("t", {"n": 2})
    await until(lambda: {"n": 2} in got)
    assert got == [{"n": 1}, {"n": 2}]


async def test_unsubscribing_twice_is_once_and_closing_ends_all(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    stop = await listen(buses[0], "t", got.append)
    stop()
    stop()
    keep: list[Message] = []
    await listen(buses[1], "t", keep.append)
    buses[0].publish("t", {})
    await until(lambda: keep == [{}])
    assert got == []
    await buses[1].close()
    buses[0].publish("t", {})
    assert await buses[0].probe(1.0)
    assert keep == [{}]


async def test_what_was_published_before_closing_arrives(buses: tuple[Bus, Bus]) -> None:
    got: list[Message] = []
    await listen(buses[1], "t", got.append)
    for n in range(1_000):
        buses[0].publish("t", {"n": n, "padding": "x" * 5_000})
    await buses[0].close()
    await until(lambda: len(got) == 1_000)


async def test_a_probe_comes_back(buses: tuple[Bus, Bus]) -> None:
    assert all(await asyncio.gather(*(bus.probe(1.0) for bus in buses for _ in range(3))))
