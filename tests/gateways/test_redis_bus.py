"""The Redis bus under every fault that Redis, the network and other people's messages have."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.crc import key_slot

from fitai.gateways.bus import frames
from fitai.gateways.bus import redis as bus_module
from fitai.gateways.bus.contract import Message
from fitai.gateways.bus.frames import Seal, pack
from fitai.gateways.bus.redis import RedisBus, Timing
from tests.gateways.test_bus import SECRET, listen, until
from tests.redis_servers import RedisCluster, RedisServer, Wire, debian_redis, missing

QUICK = Timing(beat_s=0.05, silence_s=0.4, grace_s=0.2, connect_s=1.0, pause_s=(0.01, 0.1))


@asynccontextmanager
async def opened(url: str, *, secret: bytes = SECRET, prefix: str = "test") -> AsyncIterator[RedisBus]:
    bus = RedisBus(url, secret=secret, prefix=prefix, timing=QUICK)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def reaches(here: RedisBus, there: RedisBus, topic: str = "t") -> None:
    """A message goes from one to the other, soon or at last."""
    got: list[Message] = []
    stop = there.subscribe(topic, got.append)
    mark = uuid.uuid4().hex

    async def say() -> None:
        while {"mark": mark} not in got:
            here.publish(topic, {"mark": mark})
            await asyncio.sleep(0.02)

    await asyncio.wait_for(say(), 15)
    stop()


# -- faults ------------------------------------------------------------------------------------------


async def test_after_a_restart_all_is_subscribed_again_before_anybody_is_told(
    redis_server: RedisServer,
) -> None:
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        got: list[Message] = []
        told: list[int] = []
        for n in range(300):
            await listen(there, f"user:{n}", got.append)

        def back() -> None:
            told.append(len(redis_server.ask("PUBSUB CHANNELS", "test:user:*")))

        there.on_reconnect(back)
        redis_server.restart()
        await until(lambda: told == [300])
        await until(lambda: here.stats.connects == 2)
        here.publish("user:299", {"n": 1})
        await until(lambda: got == [{"n": 1}])
        assert told == [300]


async def test_a_subscription_is_said_to_stand_when_redis_has_it(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as bus:
        there: list[int] = []

        def subscribers() -> int:
            [(_, count)] = redis_server.ask("PUBSUB NUMSUB", "test:t")
            return int(count)

        def stands() -> None:
            there.append(subscribers())

        stop = bus.subscribe("t", lambda _: None, stands)
        other = bus.subscribe("t", lambda _: None, stands)
        await until(lambda: there == [1, 1])
        stop()
        other()
        await until(lambda: subscribers() == 0)
        bus.subscribe("t", lambda _: None, stands)
        await until(lambda: there == [1, 1, 1])


async def test_nothing_is_said_to_stand_that_redis_has_not_confirmed(redis_server: RedisServer) -> None:
    async with Wire(redis_server.port).laid() as wire, opened(wire.url) as bus:
        wire.swallows = True
        told: list[None] = []
        for _ in range(2):
            bus.subscribe("t", lambda _: None, lambda: told.append(None))
        await asyncio.sleep(0.05)
        assert told == []
        wire.swallows = False
        await until(lambda: len(told) == 2)


async def test_the_first_connection_is_no_reconnect(redis_server: RedisServer) -> None:
    bus = RedisBus(redis_server.url, secret=SECRET)
    told: list[None] = []
    bus.on_reconnect(lambda: told.append(None))
    await bus.start()
    assert await bus.probe(1.0)
    await bus.close()
    assert told == []


async def test_who_no_longer_wants_to_hear_of_reconnects_does_not(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as bus:
        told: list[str] = []
        bus.on_reconnect(lambda: told.append("stays"))
        stop = bus.on_reconnect(lambda: told.append("goes"))
        stop()
        stop()
        redis_server.restart()
        await until(lambda: bool(told))
        assert told == ["stays"]


async def test_a_redis_that_is_down_stops_no_start_and_is_found_when_it_comes(
    redis_server: RedisServer,
) -> None:
    redis_server.stop()
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        assert not await here.probe(1.0)
        got: list[Message] = []
        told: list[str] = []
        there.subscribe("t", got.append, lambda: told.append("stands"))
        there.on_reconnect(lambda: told.append("back"))
        redis_server.start()
        await until(lambda: told == ["stands", "back"])
        here.publish("t", {"n": 1})
        await until(lambda: got == [{"n": 1}])
        assert await here.probe(1.0)


async def test_a_silent_redis_stops_no_start(redis_server: RedisServer) -> None:
    redis_server.freeze()
    async with opened(redis_server.url) as bus:
        assert not await bus.probe(0.1)
        redis_server.thaw()
        await until(lambda: bus.stats.connects == 1)


async def test_silence_is_noticed_and_healed_by_new_connections(redis_server: RedisServer) -> None:
    async with Wire(redis_server.port).laid() as wire, opened(wire.url) as here, opened(wire.url) as there:
        got: list[Message] = []
        back: list[None] = []
        await listen(there, "t", got.append)
        there.on_reconnect(lambda: back.append(None))
        before = wire.connections
        wire.swallows = True
        assert not await there.probe(1.0)
        here.publish("t", {"n": "swallowed"})
        await until(lambda: there.stats.round_trip_s is None)
        wire.swallows = False
        await until(lambda: bool(back))
        assert wire.connections >= before + 2
        await reaches(here, there)
        assert await there.probe(1.0)


async def test_a_subscriber_that_has_gone_deaf_is_noticed(redis_server: RedisServer) -> None:
    async with Wire(redis_server.port).laid() as wire, opened(wire.url) as bus:
        assert wire.connections == 2
        wire.deaf = {2}  # the second connection of a link listens
        await until(lambda: bus.stats.connects == 2)
        assert await bus.probe(1.0)


async def test_a_frozen_redis_is_silent_too(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        redis_server.freeze()
        await until(lambda: here.stats.round_trip_s is None)
        assert not await here.probe(0.1)
        redis_server.thaw()
        await reaches(here, there)


async def test_a_connection_that_is_cut_takes_the_other_one_with_it(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        for kind in ("normal", "pubsub"):
            before = here.stats.connects
            redis_server.ask("CLIENT KILL", "TYPE", kind)
            await until(lambda before=before: here.stats.connects > before)  # type: ignore[misc]
            await reaches(here, there)
        left = [line["cmd"] for line in redis_server.ask("CLIENT LIST")]
        assert len(left) == 4 + 1, left  # two each, and the one that asks


async def test_own_listeners_hear_while_redis_is_away(redis_server: RedisServer) -> None:
    redis_server.stop()
    async with opened(redis_server.url) as bus:
        got: list[Message] = []
        bus.subscribe("t", got.append)
        bus.publish("t", {"n": 1})
        await until(lambda: got == [{"n": 1}])


async def test_own_listeners_hear_once(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as bus:
        got: list[Message] = []
        await listen(bus, "t", got.append)
        bus.publish("t", {"n": 1})
        assert await bus.probe(1.0)
        assert await bus.probe(1.0)
        assert got == [{"n": 1}]


async def test_of_what_waits_for_redis_the_newest_is_kept(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "QUEUE_BYTES", 100 * len(pack({"n": 500})))
    async with opened(redis_server.url) as there, Wire(redis_server.port).laid() as wire:
        got: list[Message] = []
        await listen(there, "t", got.append)
        wire.swallows = True
        async with opened(wire.url) as here:
            for n in range(500, 1000):
                here.publish("t", {"n": n})
            wire.swallows = False
            await until(lambda: len(got) >= 100)
            assert [m["n"] for m in got] == list(range(900, 1000))
            assert here.stats.dropped == 400


async def test_an_error_in_an_answer_makes_everything_new(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        redis_server.ask("ACL SETUSER", "default", "-publish")
        await until(lambda: here.stats.round_trip_s is None)
        assert not await here.probe(0.1)
        redis_server.ask("ACL SETUSER", "default", "+publish")
        await reaches(here, there)


# -- what it costs -----------------------------------------------------------------------------------


async def test_what_is_published_in_one_turn_leaves_as_one_frame_a_topic(redis_server: RedisServer) -> None:
    slow = Timing(beat_s=60.0)
    here = RedisBus(redis_server.url, secret=SECRET, timing=slow)
    await here.start()
    assert await here.probe(1.0)
    before = redis_server.calls()["publish"]
    for n in range(200):
        here.publish(f"user:{n % 4}", {"n": n})
    await here.close()
    assert redis_server.calls()["publish"] - before == 4
    assert (here.stats.published, here.stats.frames, here.stats.dropped) == (200, 4, 0)


async def test_a_topic_stays_subscribed_for_the_grace(redis_server: RedisServer) -> None:
    def channels() -> int:
        return len(redis_server.ask("PUBSUB CHANNELS", "test:user:*"))

    async with opened(redis_server.url) as bus:
        stop = await listen(bus, "user:1", lambda _: None)
        before = redis_server.calls()["subscribe"]
        for _ in range(5):
            stop()
            await asyncio.sleep(2 * QUICK.beat_s)
            stop = await listen(bus, "user:1", lambda _: None)
        await asyncio.sleep(2 * QUICK.grace_s)
        assert channels() == 1
        assert redis_server.calls()["subscribe"] == before
        assert "unsubscribe" not in redis_server.calls()
        stop()
        await until(lambda: channels() == 0)
        got: list[Message] = []
        await listen(bus, "user:1", got.append)
        assert channels() == 1


async def test_a_second_listener_costs_nothing_and_the_last_one_counts(redis_server: RedisServer) -> None:
    async with opened(redis_server.url) as here, opened(redis_server.url) as there:
        first: list[Message] = []
        second: list[Message] = []
        stop = await listen(there, "t", first.append)
        before = redis_server.calls()["subscribe"]
        await listen(there, "t", second.append)
        stop()
        await asyncio.sleep(2 * QUICK.grace_s)
        assert redis_server.calls()["subscribe"] == before
        here.publish("t", {"n": 1})
        await until(lambda: second == [{"n": 1}])
        assert first == []


# -- what others send --------------------------------------------------------------------------------


async def test_a_node_with_another_secret_is_not_heard_and_counted(redis_server: RedisServer) -> None:
    async with (
        opened(redis_server.url) as here,
        opened(redis_server.url, secret=b"another secret") as stranger,
    ):
        got: list[Message] = []
        await listen(here, "t", got.append)
        stranger.publish("t", {"n": 1})
        await until(lambda: here.stats.forged == 1)
        assert got == []
        assert here.stats.connects == 1


async def test_two_installations_on_one_redis_do_not_meet(redis_server: RedisServer) -> None:
    async with (
        opened(redis_server.url, prefix="one") as one,
        opened(redis_server.url, prefix="two") as two,
        opened(redis_server.url, prefix="one") as same,
    ):
        got: list[Message] = []
        same_got: list[Message] = []
        await listen(one, "t", got.append)
        await listen(same, "t", same_got.append)
        two.publish("t", {"n": 1})
        assert await two.probe(1.0)
        await reaches(one, same)
        assert {"n": 1} not in got + same_got
        assert one.stats.forged == same.stats.forged == 0


async def test_garbage_harms_nothing(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    seal = Seal(SECRET, b"12345678")
    channel = b"test:t"
    good = seal.close(channel, [pack({"n": 1})])
    elsewhere = seal.close(b"test:other", [pack({"n": 2})])
    bad: list[bytes] = [b"", b"\x00", b"{}", good[:-1], good + b"\x00", good[:16], elsewhere]
    bad += [good[:n] + bytes([good[n] ^ 1]) + good[n + 1 :] for n in range(len(good))]
    monkeypatch.setattr(frames, "_VERSION", b"\x02")
    newer = Seal(SECRET, b"12345678").close(channel, [pack({"n": 3})])
    monkeypatch.undo()
    async with opened(redis_server.url) as bus:
        got: list[Message] = []
        await listen(bus, "t", got.append)
        for frame in bad:
            redis_server.ask("PUBLISH", channel, frame)
        await until(lambda: bus.stats.forged == len(bad))
        redis_server.ask("PUBLISH", channel, newer)
        await until(lambda: bus.stats.unreadable == 1)
        for beat in redis_server.ask("PUBSUB CHANNELS", "test:beat:*"):
            redis_server.ask("PUBLISH", beat, b"not a beat")
        redis_server.ask("PUBLISH", channel, good)
        await until(lambda: bool(got))
        assert got == [{"n": 1}]
        assert bus.stats.connects == 1


# -- other kinds of servers --------------------------------------------------------------------------


async def test_over_a_unix_socket_with_a_password(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    server = RedisServer("--unixsocket", str(socket), "--requirepass", "pass word").start()
    try:
        url = f"unix://:pass%20word@{socket}"
        async with opened(url) as here, opened(url) as there:
            await reaches(here, there)
        async with opened(f"unix://:wrong@{socket}") as refused:
            assert not await refused.probe(0.1)
    finally:
        server.remove()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A folder with a key, and a certificate for 127.0.0.1 that signs itself."""
    if shutil.which("openssl") is None:
        missing("openssl is not on the PATH")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    )
    options = f"-addext subjectAltName=IP:127.0.0.1 -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem"
    subprocess.run([*command.split(), *options.split()], check=True, capture_output=True)
    return tmp_path


def tls(folder: Path, port: int) -> list[str]:
    """What makes a server speak TLS on `port`, beside plain TCP on its own."""
    options = {"tls-port": port, "tls-cert-file": folder / "cert.pem", "tls-key-file": folder / "key.pem"}
    options |= {"tls-ca-cert-file": folder / "cert.pem", "tls-auth-clients": "no"}
    return [text for name, value in options.items() for text in (f"--{name}", str(value))]


async def test_over_tls_with_a_checked_certificate(certificate: Path) -> None:
    binary = debian_redis()
    plain = RedisServer(binary=binary)
    server = RedisServer("--port", "0", *tls(certificate, plain.port), binary=binary)
    server.port = plain.port
    server.start()
    try:
        url = f"rediss://127.0.0.1:{plain.port}/0"
        trusted = f"{url}?ssl_ca_certs={certificate}/cert.pem"
        async with opened(trusted) as here, opened(trusted) as there:
            await reaches(here, there)
        async with opened(url) as distrustful:
            assert not await distrustful.probe(0.1)
            assert distrustful.stats.connects == 0
    finally:
        server.remove()


SENTINEL = """
sentinel monitor main 127.0.0.1 {port} 1
sentinel down-after-milliseconds main 300
sentinel failover-timeout main 2000
"""


async def test_sentinels_say_who_is_master_and_a_new_one_is_followed() -> None:
    binary = debian_redis()
    master = RedisServer(binary=binary).start()
    replica = RedisServer("--replicaof", "127.0.0.1", str(master.port), binary=binary).start()
    sentinel = RedisServer(binary=binary, sentinel=SENTINEL.format(port=master.port)).start()
    nowhere = RedisServer(binary=binary)  # a Sentinel that is not there
    url = f"redis+sentinel://127.0.0.1:{nowhere.port},127.0.0.1:{sentinel.port}/main"
    try:
        async with opened(url) as here, opened(url) as there:
            await reaches(here, there)
            await until(lambda: bool(sentinel.ask("SENTINEL REPLICAS", "main")))
            await until(lambda: replica.ask("INFO", "replication")["master_link_status"] == "up")
            master.kill()
            await asyncio.wait_for(master_is(replica), 20)
            await reaches(here, there)
            assert here.stats.connects >= 2
        async with opened(url.replace("/main", "/other")) as unknown:
            assert not await unknown.probe(0.1)
    finally:
        for server in (sentinel, replica, master, nowhere):
            server.remove()


async def master_is(server: RedisServer) -> None:
    while server.ask("INFO", "replication")["role"] != "master":
        await asyncio.sleep(0.05)


@pytest.fixture
def cluster() -> Iterator[RedisCluster]:
    made = RedisCluster().start()
    yield made
    made.remove()


async def test_in_a_cluster_each_channel_lives_on_one_node(cluster: RedisCluster) -> None:
    async with opened(cluster.url) as here, opened(cluster.url) as there:
        got: list[Message] = []
        for n in range(60):
            await listen(there, f"user:{n}", got.append)
        on = [server.ask("PUBSUB SHARDCHANNELS", "test:user:*") for server in cluster.servers]
        assert all(on)
        assert sum(map(len, on)) == 60
        for n in range(60):
            here.publish(f"user:{n}", {"n": n})
        await until(lambda: len(got) == 60)
        assert not any(server.ask("PUBSUB CHANNELS") for server in cluster.servers)


async def test_a_slot_that_moves_takes_its_subscriptions_along(cluster: RedisCluster) -> None:
    async with opened(cluster.url) as here, opened(cluster.url) as there:
        got: list[Message] = []
        back: list[None] = []
        await listen(there, "user:1", got.append)
        there.on_reconnect(lambda: back.append(None))
        slot = key_slot(b"test:user:1")
        now = next(server for server in cluster.servers if server.ask("PUBSUB SHARDCHANNELS", "test:user:1"))
        other = next(server for server in cluster.servers if server is not now)
        cluster.move(slot, other)
        await until(lambda: bool(back))
        await reaches(here, there, "user:1")
        assert other.ask("PUBSUB SHARDCHANNELS", "test:user:1") == [b"test:user:1"]


async def test_a_node_of_a_cluster_that_dies_and_returns(cluster: RedisCluster) -> None:
    async with opened(cluster.url) as here, opened(cluster.url) as there:
        cluster.servers[1].kill()
        await until(lambda: here.stats.round_trip_s is None)
        assert not await here.probe(0.1)
        cluster.servers[1].start()
        for n in range(20):
            await reaches(here, there, f"user:{n}")
