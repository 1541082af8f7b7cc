"""What an older version of the fold projected is written anew before a host answers from it."""

from __future__ import annotations

import uuid

from sqlalchemy import update

from fitai.gateways.live import following
from fitai.gateways.live.hosts import Hosts
from fitai.persistence.models import Snapshot, WorkoutRow
from fitai.persistence.workouts import Workouts


async def test_a_host_brings_its_users_projections_to_this_version_when_it_is_opened(server, connect):
    user, workouts = await server.user(), [str(uuid.uuid4()) for _ in range(3)]
    phone = await connect(server, user, await server.enrol(user))
    for workout in workouts:
        await phone.push(phone.op("workout.create", workout, {"title": "as it is"}))
    await (await server.hosts.open(user)).flush()
    async with server.db.write() as session:  # as the first release left it
        await session.execute(update(Snapshot).values(mark=1, document={}))
        await session.execute(update(WorkoutRow).values(title="as it was"))

    # Not started, so that nothing is done in the background.
    hosts = Hosts(server.db, server.appender, server.bus, limits=server.limits, now_ms=server.clock)
    host = await hosts.open(user)
    async with server.db.read() as session:
        before = await Workouts(session).list(host.stream)
    assert {item.id: item.title for item in before.items} == dict.fromkeys(workouts, "as it was")
    await host.flush()
    async with server.db.read() as session:
        after = await Workouts(session).list(host.stream)
        cached = [await Workouts(session).snapshot(host.stream, workout) for workout in workouts]
    assert {item.id: item.title for item in after.items} == dict.fromkeys(workouts, "as it is")
    assert [state.document["title"] for state in cached if state is not None] == ["as it is"] * 3
    await hosts.close()


async def test_a_user_whose_projections_are_all_stale_is_answered_between_parts_of_their_renewal(
    server, connect, monkeypatch
):
    """And told what follows, of the op as of the workouts that go on, once they are renewed."""
    user, workouts = await server.user(), [str(uuid.uuid4()) for _ in range(9)]
    device = await server.enrol(user)
    phone = await connect(server, user, device)
    for workout in workouts:
        await phone.push(phone.op("workout.create", workout, {}), phone.op("workout.start", workout))
    await (await server.hosts.open(user)).flush()
    await phone.close()
    await server.stop()
    async with server.db.write() as session:
        await session.execute(update(Snapshot).values(mark=1, document={}))

    monkeypatch.setattr(following, "FLUSHED", 2)
    monkeypatch.setattr(Hosts, "_renew", _no_renewal)
    await server.start()
    parts: list[int | str] = []
    sent: list[int] = []
    project, append = server.hosts.projector.project, server.appender.append

    async def projecting(stream, epoch, rows, upto):
        if not parts:
            sent.append(await phone.emit("push", {"ops": [phone.op("workout.pause", workouts[0])]}))
        parts.append(len(rows))
        await project(stream, epoch, rows, upto)

    async def appending(what):
        parts.append("push")
        await append(what)

    monkeypatch.setattr(server.hosts.projector, "project", projecting)
    monkeypatch.setattr(server.appender, "append", appending)
    phone = await connect(server, user, device)
    for workout in workouts[1:]:
        await phone.event("insight", lambda i, name=workout: (i["kind"], i["workout"]) == ("totals", name))
    assert (await phone.ack(sent[0]))["ok"]
    await (await server.hosts.open(user)).flush()
    answered = parts.index("push")
    assert parts[answered + 1 :].count(2) >= 2  # while most was still to be renewed
    assert sum(part for part in parts if isinstance(part, int)) >= len(workouts)
    async with server.db.read() as session:
        stream = (await server.hosts.open(user)).stream
        cached = [await Workouts(session).snapshot(stream, workout) for workout in workouts]
    assert [state.document["status"] for state in cached if state] == ["paused"] + ["active"] * 8


async def _no_renewal(_):
    """Nothing is done in the background."""
