"""The life of a device, lived by the reference client at a real server, on each database.

A copy of a device is a copy of its file: a restored backup and a cloned phone are nothing else.
"""

from __future__ import annotations

import shutil
import uuid
from collections import Counter

import pytest

from fitai.engine.workout import digest
from fitai.gateways.client.account import Account, Offline
from fitai.gateways.client.client import Client, Stopped
from fitai.gateways.client.core import Patience
from fitai.persistence.log import Log

W = "0192f3c4-7b1a-7c3e-9d2f-5a6b7c8d9e0f"
QUICK = Patience(base_ms=5, cap_ms=40)


class House:
    """Ada's clients by name, each on a file of its own."""

    def __init__(self, api, ada, folder, carrier):
        self.api, self.ada, self.folder, self.carrier = api, ada, folder, carrier
        self.clients = {}

    async def open(self, name, **options):
        self.clients[name] = await Client.open(
            self.folder / f"{name}.db",
            url=str(self.api.client.make_url("/")),
            now_ms=self.api.clock,
            transport=self.carrier,
            patience=QUICK,
            **options,
        )
        return self.clients[name]

    async def enter(self, name, **options):
        """A new device, which has all that there is."""
        client = await self.open(name, **options)
        await self.login(client, name)
        await client.sync()
        return client

    async def login(self, client, name):
        await client.login(self.ada.email, self.ada.password, name=name, platform="test")

    async def copied(self, name, copy):
        """A client and a copy of it, both open."""
        await self.clients[name].close()
        self.copy_file(name, copy)
        return await self.open(name), await self.open(copy)

    def copy_file(self, name, copy):
        shutil.copy(self.folder / f"{name}.db", self.folder / f"{copy}.db")

    async def close(self):
        for client in self.clients.values():
            await client.close()

    async def devices(self):
        """What the server lists of all devices but the one that asks, revoked ones too, by number."""
        answer = await self.ada.call("GET", "/auth/devices?revoked=true")
        assert answer.status == 200, answer.body
        return {row["id"]: row for row in answer.body["devices"] if not row["current"]}

    async def log(self):
        async with self.api.db.read() as session:
            stream = await Log(session).stream_of(self.ada.id)
            return await Log(session).read(stream.id, 0, 10_000)

    async def agree(self, *clients):
        """All are settled, have the server's log, and show what it shows."""
        for client in (*clients, *clients):
            await client.sync()
        records = await self.log()
        answer = await self.ada.call("GET", f"/workouts/{W}")
        for client in clients:
            assert client.held.outbox == []
            assert [(r["device"], r["n"]) for r in await client.records()] == [r.dot for r in records]
            assert await client.digest(W) == digest(answer.body)


@pytest.fixture
async def api(database_url, make_api):
    return await make_api(database_url, live=True)


@pytest.fixture(params=["socket", "rest"])
async def house(request, api, tmp_path):
    house = House(api, await api.register(name="Console"), tmp_path, request.param)
    yield house
    await house.close()


async def begin(client):
    entry = str(uuid.uuid4())
    await client.log("workout.create", W, {"title": "Legs"})
    await client.log("workout.start", W, {})
    await client.log("exercise.add", W, {"exercise": "squat", "position": "a"}, entry)
    return entry


async def log_set(client, entry, reps):
    """Log a set; returns its id."""
    name = str(uuid.uuid4())
    await client.log("set.log", W, {"exercise_entry": entry, "type": "working", "reps": reps}, name)
    return name


async def sets(house):
    """How often each set is in the log."""
    return Counter(record.op.entity for record in await house.log() if record.op.kind == "set.log")


async def shown(client):
    document = await client.state(W)
    return {one["id"] for exercise in document["exercises"] for one in exercise["sets"]}


# -- copies ------------------------------------------------------------------------------------------


async def test_what_two_clones_log_apart_is_all_there_exactly_once(house):
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    made = [await log_set(client, entry, reps) for reps in (5, 6, 7) for client in (phone, clone)]

    await house.agree(phone, clone)

    assert phone.device != clone.device
    assert await sets(house) == Counter(made)
    assert await shown(phone) == set(made)
    assert (await house.devices())[clone.device]["parent"] == phone.device


async def test_clones_that_are_online_together_find_out_and_part(house):
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    for client in (phone, clone):
        await client.connect()
    made = [await log_set(client, entry, reps) for reps in range(1, 9) for client in (phone, clone)]
    for client in (phone, clone):
        await client.until(lambda c=client: c.settled)

    await house.agree(phone, clone)

    assert await sets(house) == Counter(made)


async def test_what_waited_when_the_copy_was_made_is_there_once(house):
    """Both copies hold the same op; the clone sends it first, and goes on."""
    entry = await begin(await house.enter("phone"))
    phone = house.clients["phone"]
    await phone.sync()
    common = await log_set(phone, entry, 5)
    phone, clone = await house.copied("phone", "clone")
    later = await log_set(clone, entry, 6)
    await clone.sync()

    await house.agree(phone, clone)

    assert await sets(house) == Counter([common, later])
    assert phone.device == clone.device, "nothing of theirs differs, so neither is a fork"

    own = [await log_set(client, entry, 7) for client in (phone, clone)]
    await house.agree(phone, clone)
    assert await sets(house) == Counter([common, later, *own])
    assert phone.device != clone.device


async def test_a_restored_backup_loses_neither_what_it_held_nor_what_came_after_it(house):
    entry = await begin(await house.enter("phone"))
    phone = house.clients["phone"]
    await phone.sync()
    held = await log_set(phone, entry, 5)
    await phone.close()
    house.copy_file("phone", "backup")
    phone = await house.open("phone")
    after = await log_set(phone, entry, 6)
    await phone.sync()
    own = phone.device
    await phone.close()
    house.copy_file("backup", "phone")
    restored = await house.open("phone")
    new = await log_set(restored, entry, 7)

    await house.agree(restored)

    assert await sets(house) == Counter([held, after, new])
    assert await shown(restored) == {held, after, new}
    assert (await house.devices())[restored.device]["parent"] == own
    await house.login(restored, "phone")
    assert restored.device != own, "its installation is the fork's from now on"


async def test_a_fork_of_a_fork_is_a_device_like_any_other(house):
    entry = await begin(await house.enter("one"))
    await house.clients["one"].sync()
    one, two = await house.copied("one", "two")
    made = [await log_set(client, entry, 5) for client in (one, two)]
    await house.agree(one, two)
    two, three = await house.copied("two", "three")
    made += [await log_set(client, entry, 6) for client in (one, two, three)]

    await house.agree(one, two, three)

    assert await sets(house) == Counter(made)
    devices = await house.devices()
    assert devices[two.device]["parent"] == one.device
    assert devices[three.device]["parent"] == two.device


async def test_a_copy_of_a_fork_that_has_written_nothing_yet_loses_nothing(house):
    entry = await begin(await house.enter("one"))
    await house.clients["one"].sync()
    one, two = await house.copied("one", "two")
    made = [await log_set(one, entry, 5), await log_set(two, entry, 6)]
    await one.sync()
    await two.connect()
    await two.until(lambda: two.device != one.device)
    two, three = await house.copied("two", "three")
    made += [await log_set(client, entry, 7) for client in (two, three)]

    await house.agree(one, two, three)

    assert await sets(house) == Counter(made)


async def lost_fork(house, monkeypatch):
    """A phone and its clone, which was forked at the server and has not heard of it; and all their sets."""
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    made = [await log_set(client, entry, 5) for client in (phone, clone)]
    await phone.sync()
    asked = []
    fork = Account.fork

    async def unheard(account, *request):
        asked.append(await fork(account, *request))
        raise Offline("the answer was lost")

    monkeypatch.setattr(Account, "fork", unheard)
    await clone.connect()
    await clone.until(lambda: len(asked) > 1)
    await clone.close()
    monkeypatch.setattr(Account, "fork", fork)
    assert {answer["device"]["id"] for answer in asked} == {phone.device + 1}
    return phone, await house.open("clone"), entry, made


async def test_a_fork_whose_answer_was_lost_is_the_same_when_asked_again(house, monkeypatch):
    phone, clone, _, made = await lost_fork(house, monkeypatch)

    await house.agree(phone, clone)

    assert await sets(house) == Counter(made)
    assert sorted(await house.devices()) == [phone.device, clone.device]


async def test_a_copy_made_while_a_fork_was_under_way_parts_from_it(house, monkeypatch):
    """Both ask for the same fork by the same installation, and are the same device again at first."""
    phone, clone, entry, made = await lost_fork(house, monkeypatch)
    clone, second = await house.copied("clone", "second")
    made += [await log_set(client, entry, reps) for reps in (6, 7) for client in (clone, second)]

    await house.agree(phone, clone, second)

    assert await sets(house) == Counter(made)
    assert len({phone.device, clone.device, second.device}) == 3


async def test_an_installation_that_was_kept_for_another_fork_is_let_go(house, monkeypatch):
    """The fork that was not heard of is given up by a sign-in as another device, which is then cloned."""
    phone, clone, entry, made = await lost_fork(house, monkeypatch)
    await clone._remember({"install_id": str(uuid.uuid4())})
    await house.login(clone, "clone")
    await house.agree(phone, clone)
    clone, second = await house.copied("clone", "second")
    made += [await log_set(client, entry, 8) for client in (clone, second)]

    await house.agree(clone, second)

    assert await sets(house) == Counter(made)


async def test_a_token_that_ended_before_the_fork_is_renewed_for_it(house, monkeypatch):
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    made = [await log_set(client, entry, 5) for client in (phone, clone)]
    await phone.sync()
    fork, tried = Account.fork, []

    async def late(account, *request):
        if not tried:
            house.api.clock.advance(seconds=1000)
        tried.append(request)
        return await fork(account, *request)

    monkeypatch.setattr(Account, "fork", late)
    await clone.sync()
    assert len(tried) == 2
    assert await sets(house) == Counter(made)
    assert phone.device != clone.device


async def test_clones_that_shared_a_refresh_token_lose_nothing_when_both_are_signed_out(house):
    """Both renew with it, so it may be in other hands: both are out, and sign in as one device."""
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    house.api.clock.advance(days=1)
    made = [await log_set(client, entry, 5) for client in (phone, clone)]
    await phone.sync()
    with pytest.raises(Stopped, match="signed_out"):
        await clone.sync()
    house.api.clock.advance(days=1)
    made.append(await log_set(phone, entry, 6))
    with pytest.raises(Stopped, match="signed_out"):
        await phone.sync()
    for client in (phone, clone):
        await house.login(client, "phone")
    house.ada = await house.api.login(house.ada, name="Console")

    await house.agree(phone, clone)

    assert await sets(house) == Counter(made)
    assert phone.device != clone.device


# -- out, and back -----------------------------------------------------------------------------------


async def revoked(house, phone):
    """By the person, at the console."""
    assert (await house.ada.call("DELETE", f"/auth/devices/{phone.device}")).status == 204


async def revoked_by_itself(house, phone):
    """By its own token."""
    path = f"/auth/devices/{phone.device}"
    assert (await house.api.call("DELETE", path, token=phone._meta["access_token"])).status == 204


async def retired(house, phone):
    """By so many newer ones that it is the longest unused."""
    for i in range(33):
        house.api.clock.advance(seconds=1)
        house.ada = await house.api.login(house.ada, name=f"Tablet {i}")
    assert (await house.devices())[phone.device]["revoked_at"] is not None


async def signed_out_for_years(house, phone):
    """By its own token, and away until nothing of its sign-in is known any more."""
    await house.api.call("POST", "/auth/logout", {"refresh_token": phone._meta["refresh_token"]})
    house.api.clock.advance(days=1000)
    house.ada = await house.api.login(house.ada, name="Console")


@pytest.mark.parametrize("out", [revoked, revoked_by_itself, retired, signed_out_for_years])
async def test_what_was_not_sent_survives_until_the_next_sign_in(house, out):
    phone = await house.enter("phone")
    entry = await begin(phone)
    await phone.sync()
    device, counter = phone.device, phone.held.next_n
    await out(house, phone)
    held = [await log_set(phone, entry, reps) for reps in (5, 6)]
    with pytest.raises(Stopped):
        await phone.sync()
    await phone.close()
    phone = await house.open("phone")
    assert await shown(phone) == set(held), "a person still sees it"
    assert await sets(house) == Counter()

    await house.login(phone, "phone")
    await house.agree(phone)

    assert phone.device == device
    mine = [record.op.n for record in await house.log() if record.device == device]
    assert mine == list(range(1, counter + 2))
    assert await sets(house) == Counter(held)
    assert (await house.devices())[device]["revoked_at"] is None


async def test_who_is_out_costs_nothing_in_later_clocks(house):
    """Forks begin with an entry of their parent; when both are out, nobody's context names either."""
    entry = await begin(await house.enter("phone"))
    await house.clients["phone"].sync()
    phone, clone = await house.copied("phone", "clone")
    for client in (phone, clone):
        await log_set(client, entry, 5)
    await house.agree(phone, clone)
    clone, second = await house.copied("clone", "second")
    for client in (clone, second):
        await log_set(client, entry, 6)
    await house.agree(phone, clone, second)
    for client in (phone, clone):
        await revoked(house, client)
    head = len(await house.log())

    tablet = await house.enter("tablet")
    for client in (second, tablet):
        await log_set(client, entry, 7)
        await client.sync()
    await house.ada.workout(title="written over REST")

    later = (await house.log())[head:]
    assert {second.device, tablet.device} < {record.device for record in later}
    assert [record.beyond for record in later] == [None] * len(later)
