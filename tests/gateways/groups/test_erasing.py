"""An account is erased by a worker that has no rooms, while its groups are open elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from fitai.engine.groups.document import digest, document
from fitai.persistence.database import Database
from fitai.persistence.group_erasure import erase_in_groups
from tests.gateways.groups.conftest import Scene, Seated, now

WORDS = "my left knee hurts"


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def erase(scene: Scene, user: str) -> None:
    """As a worker does it: over a database of its own, and without a word to anybody."""
    db = Database.open(scene.server.db.url.render_as_string(hide_password=False))
    try:
        await erase_in_groups(db, user, now())
    finally:
        await db.close()


async def look(scene: Scene) -> None:
    for server in scene.servers:
        await server.hosts.look()


async def test_everybody_hears_of_it_on_every_node_and_forgets(
    nodes: Callable[..., Awaitable[Scene]],
) -> None:
    scene = await nodes(2)
    here, there = scene.servers
    host = await scene.create()
    guest = await scene.join(host, server=there)
    other = await scene.join(host, server=there)
    for _ in range(3):
        assert (await guest.do("chat.say", {"text": WORDS}))["verdict"] == "applied"

    await erase(scene, guest.wire.user)
    await look(scene)

    last = (await scene.log(host.group))[-1]
    assert last.op.kind == "member.erase"
    for who in (host, other):
        await who.told(last.seq)
        who.in_order()
        assert who.records()[-1]["value"] == {"member": 2}
    for server in (here, there):
        room = await scene.room(host.group, server)
        assert room.users[2] is None and room.member_of(guest.wire.user) is None
        assert digest(document(room.group)) == digest(document(await scene.folded(host.group)))


async def test_who_reads_it_later_is_told_that_somebody_said_something(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    await guest.do("chat.say", {"text": WORDS})
    await erase(scene, guest.wire.user)
    await look(scene)
    last = (await scene.log(host.group))[-1].seq

    again = Seated(await scene.wire(user=host.wire.user), host.group)
    answer = await again.join(cursor={"epoch": host.ready["epoch"], "seq": 0})
    assert answer["resumed"]
    await again.wire.until(lambda: any(record["seq"] == last for record in again.records()))
    said = next(record for record in again.records() if record["kind"] == "chat.say")
    assert (said["value"], said["withheld"]) == ({}, "erased")
    names = [record["value"]["name"] for record in again.records() if record["kind"] == "device.enrol"]
    assert names[1] == "" and names[0]
    assert WORDS not in str(again.wire.packets)


async def test_it_comes_through_while_everybody_talks(nodes: Callable[..., Awaitable[Scene]]) -> None:
    """The heads race: neither side waits for the other, and nothing is said twice or lost."""
    scene = await nodes(2)
    host = await scene.create()
    guest = await scene.join(host, server=scene.servers[1])
    others = [await scene.join(host, server=server) for server in scene.servers * 2]
    done = asyncio.Event()
    said: list[int] = []

    async def talk(who: Seated) -> None:
        # Steps that are no messages: these are not slowed.
        while not done.is_set():
            result = await who.do("member.share", {"share": "everything"})
            assert result["verdict"] == "applied"
            said.append(result["seq"])

    async def leave() -> None:
        try:
            await asyncio.sleep(0)
            await erase(scene, guest.wire.user)
        finally:
            done.set()

    async with asyncio.timeout(60):
        await asyncio.gather(leave(), *map(talk, others))
    await look(scene)
    log = await scene.log(host.group)
    assert [record.op.kind for record in log].count("member.erase") == 1
    assert len(said) == len(set(said))
    assert set(said) <= {record.seq for record in log}
    for who in (host, *others):
        await who.told(log[-1].seq)
        who.in_order()


async def test_a_host_who_is_erased_is_succeeded_by_who_is_there(scene: Scene) -> None:
    host = await scene.create()
    guest = await scene.join(host)
    await erase(scene, host.wire.user)
    await look(scene)
    await guest.wire.until(lambda: any(record["kind"] == "group.host" for record in guest.records()))
    crowned = next(record for record in guest.records() if record["kind"] == "group.host")
    assert crowned["value"] == {"member": 2, "was": None, "reason": "left"}


async def test_a_device_that_still_sits_there_may_do_nothing_more(scene: Scene) -> None:
    """It is about to be cut: until then its ops are void, by whichever node they come."""
    host = await scene.create()
    guest = await scene.join(host)
    await erase(scene, guest.wire.user)
    result = await guest.push(guest.op("chat.say", {"text": WORDS}))
    if result["ok"]:
        assert [(one["verdict"], one["code"]) for one in result["results"]] == [("void", "forbidden")]
    told = str(host.wire.packets)
    assert WORDS not in told
