"""The demo's device: the reference client with counts, on real files, against a real node and alone."""

from __future__ import annotations

import time

import pytest

from fitai.app.demo_device import Device, NothingCame
from fitai.app.demo_link import Link
from fitai.persistence.database import Database
from tests.gateways.conftest import TEST_LIMITS, Server

WORKOUT = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
USER = "0192f3c4-7b1a-7c3e-9d2f-0000000000ff"


def now():
    return time.time_ns() // 1_000_000


class Watching:
    """Keeps what it is told, as (device, what, detail)."""

    def __init__(self):
        self.told = []

    def wrote(self, device, op, since):
        assert since <= time.perf_counter()
        self.told.append((device.name, "wrote", op["n"]))

    def has(self, device, record):
        self.told.append((device.name, "has", record["seq"]))

    def heard(self, device, insight):
        self.told.append((device.name, "heard", insight.get("value")))

    def came(self, device, online):
        self.told.append((device.name, "came", online["resumed"]))

    def went(self, device):
        self.told.append((device.name, "went", device.bye))

    def of(self, name, what):
        return [detail for device, kind, detail in self.told if (device, kind) == (name, what)]


@pytest.fixture
def watching():
    return Watching()


@pytest.fixture
async def alone(tmp_path, watching):
    """A device that no server answers, signed in long ago as device 1."""
    device = Device("phone", "ios", "json", watching)
    await device.open(tmp_path, "http://127.0.0.1:9", now)
    await device.client.adopt(USER, 1, "token")
    yield device
    await device.close()


@pytest.fixture
async def server(sqlite_url):
    db = Database.open(sqlite_url)
    server = await Server(db, limits=TEST_LIMITS).start()
    yield server
    await server.stop()
    await db.close()


@pytest.fixture
async def pair(server, tmp_path, watching):
    """Phone and watch of one person, each behind a link of its own, connected."""
    user, links, devices = await server.user(), [], []
    for name, codec in (("phone", "json"), ("watch", "msgpack")):
        link, device = Link(), Device(name, "test", codec, watching)
        await link.start(server.port)
        await device.open(tmp_path, link.url, now)
        number = await server.enrol(user, name)
        await device.client.adopt(user, number, server.tokens.issue(user, number))
        await device.client.connect()
        await device.reached(0)
        links.append(link)
        devices.append(device)
    yield *devices, *links
    for device in devices:
        await device.close()
    for link in links:
        await link.close()


async def test_what_is_written_is_counted_when_it_is_in_the_log_of_either(pair, watching):
    phone, watch, *_ = pair
    await phone.write(WORKOUT, "workout.create", {"title": "Legs"})
    await phone.reached(1)
    await watch.reached(1)
    await watch.write(WORKOUT, "workout.start", {}, at=5)
    await watch.reached(2)
    await phone.reached(2)
    assert (phone.written, phone.acknowledged, phone.holes, phone.refusals) == (1, 1, 0, [])
    assert (watch.written, watch.acknowledged, watch.holes, watch.refusals) == (1, 1, 0, [])
    assert phone.dots == watch.dots == {(phone.number, 1), (watch.number, 1)}
    assert watching.of("phone", "has") == watching.of("watch", "has") == [1, 2]
    assert watching.of("watch", "wrote") == [1]
    assert (await phone.shows(WORKOUT))["status"] == "active"


async def test_a_lost_acknowledgement_is_counted_as_a_duplicate_and_a_resumed_connection(pair, watching):
    phone, watch, link, _ = pair
    link.swallow()
    await phone.write(WORKOUT, "workout.create", {})
    await watch.reached(1)
    assert phone.acknowledged == 0
    link.cut()
    await phone.until(lambda: not phone.here, "it noticed")
    link.mend()
    await phone.client.connect()
    await phone.reached(1)
    await phone.until(lambda: phone.duplicates > 0, "the retry was answered")
    assert (phone.duplicates, phone.acknowledged, phone.holes) == (1, 1, 0)
    assert (phone.connects, phone.resumes) == (2, 1)
    assert watching.of("phone", "came") == [False, True]
    assert watching.of("phone", "went") == [None]


async def test_a_goodbye_is_known_when_the_connection_is_gone(pair, server, watching):
    phone, *_ = pair
    await server.stop()
    await phone.until(lambda: not phone.here, "it noticed")
    await server.start()
    await phone.client.connect()
    await phone.reached(0)
    assert watching.of("phone", "went") == ["draining"]
    assert phone.bye is None


def ops(first, last):
    return {"epoch": "e", "from": first, "to": last, "records": []}


def pushed(*results):
    return {"ok": True, "results": list(results), "head": 0}


async def test_what_a_connection_leaves_out_is_counted_as_a_hole(alone):
    alone._hear("online", {"head": 3, "resumed": False})
    alone._hear("ops", ops(4, 5))
    alone._hear("pushed", pushed({"n": 1, "seq": 6, "verdict": "applied"}))
    alone._hear("pushed", pushed({"n": 1, "seq": 2, "verdict": "duplicate"}))
    alone._hear("ops", ops(7, 7))
    assert alone.holes == 0
    alone._hear("ops", ops(9, 9))
    assert alone.holes == 1
    alone._hear("pushed", pushed({"n": 2, "seq": 11, "verdict": "merged"}))
    assert alone.holes == 2


async def test_a_refusal_is_remembered(alone):
    alone._hear("pushed", {"ok": False, "code": "later", "message": "busy"})
    assert [answer["code"] for answer in alone.refusals] == ["later"]


async def test_of_insights_the_last_word_counts(alone, watching):
    insight = {"id": "i", "kind": "record", "workout": WORKOUT, "value": 100}
    alone._hear("insight", insight)
    alone._hear("insight", {**insight, "value": 105})
    alone._hear("insight", {**insight, "value": 105})
    assert alone.records_told(WORKOUT) == {"i": {**insight, "value": 105}}
    alone._hear("insight", {"id": "i", "kind": "record", "workout": WORKOUT, "withdrawn": True})
    assert alone.records_told(WORKOUT) == {}
    assert watching.of("phone", "heard") == [100, 105, None]


async def test_waiting_ends_when_it_holds_or_when_patience_does(alone):
    await alone.until(lambda: not alone.here, "it is away")
    with pytest.raises(NothingCame, match=r"The phone waited 0.01 s until pigs fly\."):
        await alone.until(lambda: False, "pigs fly", 0.01)


async def test_waiting_ends_when_the_device_has_given_up(pair, server):
    phone, *_ = pair
    await phone.client.adopt(phone.client.user, phone.number, "no token")
    with pytest.raises(NothingCame, match="The phone waited until pigs fly, and stopped: "):
        await phone.until(lambda: False, "pigs fly", 10)
