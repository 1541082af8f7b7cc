"""The life of a device, over real sockets and REST: copies, forks, sign-outs, retirement."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from fitai.persistence.log import Log
from tests.http.conftest import Person
from tests.http.sync.conftest import RestDevice, new_id


async def records(person, device=None):
    async with person.api.db.read() as session:
        stream = await Log(session).stream_of(person.id)
        assert stream is not None
        found = await Log(session).read(stream.id, 0, 1000)
    return [record for record in found if device in (None, record.device)]


async def fork(person, at, **more):
    """The forked device as a person of its own."""
    answer = await person.call("POST", "/auth/devices", {"fork_at": at, **more})
    assert answer.status == 201, answer.body
    return Person(person.api, person.email, person.password, answer.body)


# -- copies ------------------------------------------------------------------------------------------


async def test_a_restored_copy_forks_and_loses_nothing_of_either(ada, connect):
    workout, entry, sets = new_id(), new_id(), [new_id() for _ in range(3)]
    phone = await connect(ada)

    def log(wire, entity, **more):
        return wire.op("set.log", workout, {"exercise_entry": entry, "type": "working"}, entity, **more)

    bench = {"exercise": "bench press", "position": "a"}
    await phone.push(
        phone.op("workout.create", workout), phone.op("exercise.add", workout, bench, entity=entry)
    )
    # A backup is taken here, with op 3 in the outbox. The phone goes on:
    await phone.push(log(phone, sets[0]), log(phone, sets[1]))

    copy = await connect(ada)
    assert copy.ready["next_n"] == 5, "beyond the copy's own counter: it can know before it pushes"
    held = log(copy, sets[2], n=3, base=2)
    refused = await copy.push(held)
    assert (refused["ok"], refused["code"]) == (False, "equivocation")
    assert (refused["n"], refused["next_n"]) == (3, 5)

    forked = await fork(ada, 3)
    new = await connect(forked)
    assert new.ready["next_n"] == 1
    ack = await new.push({**held, "n": 1})
    [result] = ack["results"]
    assert (result["n"], result["seq"]) == (1, 5)
    assert result["verdict"] == "merged", "the phone's last sets were unseen"

    state = (await phone.call("workout:get", {"workout": workout}))["state"]
    assert {row["id"] for row in state["exercises"][0]["sets"]} == set(sets)


async def test_a_forks_context_holds_what_its_parent_wrote_before_they_parted(ada, connect):
    """The parent wrote offline: its own ops lie above its base, and the fork had made them too."""
    watch = await connect(await ada.api.login(ada, name="Watch"))
    other = new_id()
    await watch.push(*(watch.op("workout.create", other) for _ in range(3)))
    workout = new_id()
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", workout, base=1), phone.op("workout.start", workout, base=1))

    forked = RestDevice(await fork(ada, 3))
    answer = await forked.push(forked.op("workout.pause", workout, base=0))
    assert answer.body["results"][0]["verdict"] == "applied", "all of this workout was in its context"
    [record] = await records(ada, forked.person.device)
    assert (record.base, record.beyond) == (1, {ada.device: 2})


async def test_every_device_is_told_a_context_that_is_not_the_op_s_own_base(ada, connect):
    """A fork, a base that was raised and a full clock: by the acknowledgement, a socket, and a pull."""
    other = await connect(await ada.api.login(ada, name="Watch"))
    workout = new_id()
    await other.push(*(other.op("workout.create", workout) for _ in range(3)))
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.start", workout, base=1))
    forked = RestDevice(await fork(ada, 2))
    ops = [
        forked.op("workout.pause", workout, base=0),
        forked.op("workout.resume", workout, base=2),
        forked.op("workout.pause", workout, base=0),
        forked.op("workout.resume", workout, clock={str(other.device): 3}),
        forked.op("workout.pause", workout, base=8),
    ]
    del ops[3]["base"]
    parent = {str(ada.device): 1}
    raised = {"base": 2, "beyond": parent}
    contexts = [{"base": 1, "beyond": parent}, raised, raised, {"base": 7}, None]
    answers = [await forked.push(op) for op in ops]
    retries = [await forked.push(op) for op in ops]
    await other.told(9)
    pulled = (await forked.pull(after=4))["records"]
    for tellings in (
        [answer.body["results"][0] for answer in answers],
        [answer.body["results"][0]["first"] for answer in retries],
        [record for record in other.records() if record["seq"] > 4],
        pulled,
    ):
        assert [told.get("context") for told in tellings] == contexts


async def test_a_fork_had_not_seen_what_its_parent_wrote_after_they_parted(ada):
    workout = new_id()
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", workout), phone.op("workout.start", workout))
    forked = RestDevice(await fork(ada, 2))
    answer = await forked.push(forked.op("workout.edit", workout, {"field": "title", "value": "mine"}))
    assert answer.body["results"][0]["verdict"] == "merged"
    [record] = await records(ada, forked.person.device)
    assert (record.base, record.beyond) == (0, {ada.device: 1})


async def test_a_fork_is_known_to_a_host_that_was_open_before_it_and_to_one_opened_after(ada, make_api):
    workout = new_id()
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", workout))
    before = RestDevice(await fork(ada, 2))
    await before.push(before.op("workout.edit", workout, {"field": "title", "value": "a"}, base=0))
    after = RestDevice(await fork(ada, 2))
    url = ada.api.db.url.render_as_string(hide_password=False)
    elsewhere = await make_api(url)
    after.person.api = elsewhere
    await after.push(after.op("workout.edit", workout, {"field": "title", "value": "b"}, base=0))
    for device in (before, after):
        [record] = await records(ada, device.person.device)
        assert (record.base, record.beyond) == (0, {ada.device: 1})


async def test_a_fork_of_a_fork_that_wrote_nothing_starts_where_that_one_did(ada):
    workout = new_id()
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", workout))
    first = await fork(ada, 2)
    second = RestDevice(await fork(first, 1))
    answer = await second.push(second.op("workout.start", workout))
    assert answer.body["results"][0]["verdict"] == "applied"
    [record] = await records(ada, second.person.device)
    assert record.beyond == {ada.device: 1}


async def test_a_fork_before_the_first_op_starts_at_nothing(ada):
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", new_id()))
    forked = RestDevice(await fork(ada, 1))
    await forked.push(forked.op("workout.create", new_id()))
    [record] = await records(ada, forked.person.device)
    assert (record.base, record.beyond) == (0, None)


# -- what leaves clocks ------------------------------------------------------------------------------


async def test_an_entry_that_a_base_covers_leaves_the_clock_for_good(ada):
    workout = new_id()
    phone = RestDevice(ada)
    await phone.push(phone.op("workout.create", workout), phone.op("workout.start", workout))
    forked = RestDevice(await fork(ada, 3))
    await forked.push(forked.op("workout.pause", workout, base=1))
    await forked.push(
        forked.op("workout.resume", workout, base=2), forked.op("workout.pause", workout, base=0)
    )
    found = await records(ada, forked.person.device)
    assert [(record.base, record.beyond) for record in found] == [(1, {ada.device: 2}), (2, None), (2, None)]


async def test_a_retired_device_costs_nothing_in_later_clocks(ada, api):
    """A full clock names a device that was revoked long ago; the log says that the base covers it."""
    workout = new_id()
    old = RestDevice(await api.login(ada, name="Old"))
    await old.push(old.op("workout.create", workout), old.op("workout.start", workout))
    await ada.call("DELETE", f"/auth/devices/{old.person.device}")
    phone, watch = RestDevice(ada), RestDevice(await api.login(ada, name="Watch"))
    await phone.push(phone.op("workout.pause", workout, base=2))
    clock = {str(old.person.device): 2, str(ada.device): 1}
    whole = watch.op("workout.resume", workout, clock=clock)
    part = watch.op("workout.pause", workout, clock=clock)
    del whole["base"], part["base"]
    answer = await watch.push(whole, part)
    assert [result["verdict"] for result in answer.body["results"]] == ["applied", "applied"]
    found = await records(ada, watch.person.device)
    assert [(record.base, record.beyond) for record in found] == [(3, None), (3, None)]


async def test_an_entry_stays_for_as_long_as_the_base_lies_below_it(ada, api):
    watch = RestDevice(await api.login(ada, name="Watch"))
    phone, tablet = RestDevice(ada), RestDevice(await api.login(ada, name="Tablet"))
    await watch.push(watch.op("workout.create", new_id()))
    await phone.push(phone.op("workout.create", new_id()))
    op = tablet.op("workout.create", new_id(), clock={str(ada.device): 1})
    del op["base"]
    await tablet.push(op)
    await tablet.push(tablet.op("workout.create", new_id(), base=1))
    await tablet.push(tablet.op("workout.create", new_id(), base=2))
    found = await records(ada, tablet.person.device)
    assert [(r.base, r.beyond) for r in found] == [(0, {ada.device: 1}), (1, {ada.device: 1}), (2, None)]


# -- names, and the way out ------------------------------------------------------------------------------


async def _renamed(api, ada, watch):
    answer = await ada.call("PATCH", f"/auth/devices/{watch.device}", {"name": "Left wrist"})
    assert answer.status == 200


async def _signed_in_under_another_name(api, ada, watch):
    await api.login(ada, name="Left wrist", install_id="the watch")


@pytest.mark.parametrize("how", [_renamed, _signed_in_under_another_name])
async def test_a_new_name_is_seen_at_once_by_all_devices_that_are_here(api, ada, bob, connect, how):
    watch = await api.login(ada, name="Watch", install_id="the watch")
    phone, wrist, strange = await connect(ada), await connect(watch), await connect(bob)
    await phone.event("presence", lambda p: len(p["devices"]) == 2)
    await how(api, ada, watch)
    for wire in (phone, wrist):
        told = await wire.event("presence", lambda p: "Left wrist" in [d["name"] for d in p["devices"]])
        assert [(d["device"], d["name"]) for d in told["devices"]] == [
            (ada.device, "Phone"),
            (watch.device, "Left wrist"),
        ]
    await strange.call("clock", {"t0": 1})
    assert "Left wrist" not in str(strange.packets)


async def test_a_name_of_a_device_that_is_not_here_is_no_news(api, ada, connect):
    watch = await api.login(ada, name="Watch")
    phone = await connect(ada)
    await _renamed(api, ada, watch)
    await phone.call("clock", {"t0": 1})
    assert [len(p["devices"]) for p in phone.events("presence")] == [1]


async def test_a_device_that_revokes_itself_is_shown_out_and_its_tokens_are_dead(api, ada, connect):
    watch = await api.login(ada, name="Watch")
    phone, wrist = await connect(ada), await connect(watch)
    assert (await watch.call("DELETE", f"/auth/devices/{watch.device}")).status == 204
    await wrist.gone()
    assert wrist.events("bye") == [{"code": "revoked", "reconnect": False, "after_ms": 0}]
    assert (await watch.call("GET", "/auth/devices")).code == "device_revoked"
    assert (await RestDevice(watch).push(phone.op("workout.create", new_id(), n=1))).code == "device_revoked"
    refreshed = await api.call("POST", "/auth/refresh", {"refresh_token": watch.refresh_token})
    assert refreshed.code == "invalid_refresh_token"
    assert (await phone.call("clock", {"t0": 1}))["t0"] == 1, "the others stay"


# -- coming back -------------------------------------------------------------------------------------


@asynccontextmanager
async def _revoked(api, ada, phone):
    watch = await api.login(ada, name="Watch")
    assert (await watch.call("DELETE", f"/auth/devices/{ada.device}")).status == 204
    api.clock.advance(seconds=10)
    yield "device_revoked"


@asynccontextmanager
async def _signed_out_for_years(api, ada, phone):
    await ada.call("POST", "/auth/logout")
    api.clock.advance(days=1000)
    yield "token_expired"


@pytest.mark.parametrize("away", [_revoked, _signed_out_for_years])
async def test_unsent_ops_survive_until_the_next_sign_in(api, connect, away):
    ada = await api.register(install_id="the phone")
    workout = new_id()
    phone = RestDevice(ada)
    await phone.pushed(phone.op("workout.create", workout), phone.op("workout.start", workout))
    held = [phone.op("workout.pause", workout, base=2), phone.op("workout.resume", workout, base=2)]
    made_at = held[0]["at"]

    async with away(api, ada, phone) as code:
        refused = await phone.push(*held)
        assert (refused.status, refused.code, refused.body["ok"]) == (401, code, False)

    back = await api.login(ada, install_id="the phone")
    assert back.device == ada.device, "the same installation is the same device"
    wire = await connect(back)
    assert wire.ready["next_n"] == 3, "its counter goes on"
    ack = await wire.push(*held)
    assert [result["verdict"] for result in ack["results"]] == ["applied", "applied"]
    later = await RestDevice(back, next_n=5).push({**held[0], "n": 5, "kind": "workout.complete"})
    assert later.status == 200
    stored = await records(ada, ada.device)
    assert [record.op.n for record in stored] == [1, 2, 3, 4, 5]
    assert stored[2].te == made_at, "and they are dated when they were made"


async def test_a_retired_device_comes_back_with_its_ops(make_api):
    api = await make_api(devices_per_user=1)
    ada = await api.register(install_id="the phone")
    phone = RestDevice(ada)
    await phone.pushed(phone.op("workout.create", new_id()))
    api.clock.advance(seconds=1)
    watch = await api.login(ada, name="Watch", install_id="the watch")
    assert (await phone.push(phone.op("workout.create", new_id()))).code == "device_revoked"
    api.clock.advance(seconds=1)
    back = RestDevice(await api.login(ada, install_id="the phone"), next_n=2)
    answer = await back.push(back.op("workout.create", new_id()))
    assert answer.body["results"][0]["n"] == 2
    assert back.person.device == ada.device != watch.device
