"""The shape of compose.yaml on loopback: the balancer with its own configuration, two nodes, PostgreSQL and
Redis, real processes each; and clients that know the balancer's address only."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from tests.deploy.test_compose import BALANCER
from tests.gateways.conftest import Wire
from tests.redis_servers import free_port
from tests.system.conftest import Process, people

UP_S = 20.0
W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"

pytestmark = pytest.mark.timeout(180)


@dataclass
class Stack:
    """What a client sees: one address. `port`, `tokens` and `clock` are what a Wire asks of a server."""

    port: int
    nodes: list[Process]

    @property
    def tokens(self):
        return self.nodes[0].tokens

    @property
    def clock(self):
        return self.nodes[0].clock

    async def status(self, path: str, **headers: str) -> int:
        async with aiohttp.ClientSession(headers=headers) as http:
            return (await http.get(f"http://127.0.0.1:{self.port}{path}")).status

    async def settled(self, ready: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(UP_S):
            while not await ready():
                await asyncio.sleep(0.1)


def haproxy() -> str:
    found = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if found is None:
        reason = "needs haproxy (Debian: apt-get install haproxy)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    return str(found)


def configuration(port: int, nodes: list[Process]) -> str:
    """deploy/haproxy.cfg, with addresses on loopback instead of an engine's names."""
    text = re.sub(r"resolvers docker\n(    .*\n)+", "", BALANCER)
    text, ends = re.subn(r" resolvers docker init-addr libc,none", "", text)
    text, binds = re.subn(r"bind :8080", f"bind 127.0.0.1:{port}", text)
    servers = 0
    for index, node in enumerate(nodes, 1):
        text, found = re.subn(rf"node-{index}:8080", f"127.0.0.1:{node.port}", text)
        servers += found
    assert (ends, binds, servers) == (1, 1, 2)
    return text


@pytest.fixture
async def stack(
    postgres_url: str, redis_url: str, make_process: Callable[..., Awaitable[Process]], tmp_path: Path
) -> AsyncIterator[Stack]:
    shared = {"FITAI_REDIS_URL": redis_url, "FITAI_TRUSTED_PROXIES": "127.0.0.1", "FITAI_MIGRATE": "off"}
    nodes = [await make_process(postgres_url, **shared) for _ in range(2)]
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(configuration(port, nodes))
    balancer = subprocess.Popen([haproxy(), "-q", "-db", "-f", str(config)])
    try:
        made = Stack(port, nodes)
        await made.settled(lambda: answers(made))
        yield made
    finally:
        balancer.terminate()
        balancer.wait(10)


async def answers(stack: Stack) -> bool:
    try:
        return await stack.status("/health/ready") == 200
    except aiohttp.ClientError:
        return False


async def test_people_know_one_address_and_go_on_when_a_node_dies(stack: Stack, postgres_url: str):
    [(user, devices)] = await people(postgres_url, 1, devices=2)
    phone, watch = (Wire(stack, user, device) for device in devices)  # type: ignore[arg-type]
    await phone.connect()
    await watch.connect()  # `leastconn` sends it to the other node
    created = await phone.push(phone.op("workout.create", W))
    assert created["ok"]
    assert (await watch.event("ops"))["records"][0]["workout"] == W

    stack.nodes[0].kill()
    ended = [wire for wire in (phone, watch) if await closed(wire)]
    assert len(ended) == 1, "one of them was on the node that was killed"
    for wire in ended:
        await wire.close()
        await stack.settled(partial(connected, wire))
    pushed = await watch.push(watch.op("workout.start", W))
    assert pushed["ok"]
    for wire in (phone, watch):
        page = await wire.call("pull", {"after": 0, "limit": 10})
        assert [record["kind"] for record in page["records"]] == ["workout.create", "workout.start"]
        await wire.close()


async def closed(wire: Wire) -> bool:
    """Whether the connection has gone, within a second."""
    for _ in range(20):
        if wire.ws.closed:
            return True
        await asyncio.sleep(0.05)
    return False


async def connected(wire: Wire) -> bool:
    try:
        async with asyncio.timeout(2):
            await wire.connect()
    except (aiohttp.ClientError, TimeoutError, AssertionError):
        await wire.http.close()
        return False
    return True


async def test_metrics_stay_inside(stack: Stack):
    assert await stack.status("/metrics") == 404
    assert await stack.status("/docs") == 200


async def test_a_node_that_drains_gets_no_more_requests(stack: Stack):
    await stack.nodes[0].stop()
    await asyncio.sleep(2)  # two checks
    assert {await stack.status("/health/ready") for _ in range(10)} == {200}
