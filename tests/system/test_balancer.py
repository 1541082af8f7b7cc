"""The shape of compose.yaml on loopback: the balancer with its own configuration, two nodes, PostgreSQL and
Redis, real processes each; and clients that know the balancer's address only."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from fitai.http.headers import HSTS
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
    secure: int
    pem: Path

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


def configuration(port: int, nodes: list[Process], tls: tuple[int, Path] | None = None) -> str:
    """deploy/haproxy.cfg, with addresses on loopback instead of an engine's names; `tls`: on this port too,
    with the file of key and certificate."""
    text = re.sub(r"resolvers docker\n(    .*\n)+", "", BALANCER)
    text, ends = re.subn(r" resolvers docker init-addr libc,none", "", text)
    text, binds = re.subn(r"bind :8080", f"bind 127.0.0.1:{port}", text)
    if tls is not None:
        secure, certificate = tls
        text, found = re.subn(
            r"# bind :8443 ssl crt \S+", f"bind 127.0.0.1:{secure} ssl crt {certificate}", text
        )
        assert found == 1
    servers = 0
    for index, node in enumerate(nodes, 1):
        text, found = re.subn(rf"node-{index}:8080", f"127.0.0.1:{node.port}", text)
        servers += found
    assert (ends, binds, servers) == (1, 1, 2)
    return text


def certificate(folder: Path) -> Path:
    """Key and certificate for 127.0.0.1 in one file, as HAProxy wants them."""
    pem = folder / "fit.pem"
    request = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    named = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(pem), "-out", str(folder / "fit.crt")]
    subprocess.run([*request.split(), *named], check=True, capture_output=True)
    pem.write_text(pem.read_text() + (folder / "fit.crt").read_text())
    return pem


@pytest.fixture
async def stack(
    postgres_url: str, redis_url: str, make_process: Callable[..., Awaitable[Process]], tmp_path: Path
) -> AsyncIterator[Stack]:
    shared = {"FITAI_REDIS_URL": redis_url, "FITAI_TRUSTED_PROXIES": "127.0.0.1", "FITAI_MIGRATE": "off"}
    nodes = [await make_process(postgres_url, **shared) for _ in range(2)]
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    secure, pem = free_port(), certificate(tmp_path)
    config.write_text(configuration(port, nodes, (secure, pem)))
    balancer = subprocess.Popen([haproxy(), "-q", "-db", "-f", str(config)])
    try:
        made = Stack(port, nodes, secure, pem)
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


async def test_behind_tls_browsers_are_told_to_insist_on_it_and_nobody_can_pretend(stack: Stack):
    trust = ssl.create_default_context(cafile=stack.pem)
    async with aiohttp.ClientSession(headers={"X-Forwarded-Proto": "https"}) as http:
        async with http.get(f"http://127.0.0.1:{stack.port}/health/live") as plain:
            assert plain.status == 200
            assert "Strict-Transport-Security" not in plain.headers
        async with http.get(f"https://127.0.0.1:{stack.secure}/health/live", ssl=trust) as secure:
            assert secure.status == 200
            assert secure.headers["Strict-Transport-Security"] == HSTS
        url = f"wss://127.0.0.1:{stack.secure}/socket.io/?EIO=4&transport=websocket"
        async with http.ws_connect(url, ssl=trust) as socket:
            assert (await socket.receive()).data.startswith("0{")
