"""What an older version of the fold projected is written anew before a host answers from it."""

from __future__ import annotations

import uuid

from sqlalchemy import update

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
