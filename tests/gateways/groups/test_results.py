"""The final table: worked out of the logs, corrected whenever they are, and the same whoever asks."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from fitai.engine.groups.clock import GRACE_MS
from fitai.gateways.groups import duties
from fitai.gateways.groups.results import ranked
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Groups
from tests.gateways.conftest import PATIENCE, new_id
from tests.gateways.groups.conftest import Scene
from tests.gateways.groups.training import RACE, Trainee, later, live, trainee
from tests.group_book import GroupBook

MakeScene = Callable[..., Awaitable[Scene]]


@pytest.fixture(autouse=True)
def nothing_is_logged(no_exception_is_logged: None) -> None:
    """None of this is an error."""


async def stored(scene: Scene, group: str) -> list[Result]:
    async with scene.server.db.read() as session:
        return await GroupResults(session).of(group)


async def due_at(scene: Scene, group: str) -> tuple[int | None, int | None]:
    """(due_at, results_at) as the group's row has them."""
    async with scene.server.db.read() as session:
        row = await Groups(session).row(group)
    assert row is not None
    return row.due_at, row.results_at


async def crew(scene: Scene, members: int = 3, **more: Any) -> list[Trainee]:
    host = await trainee(scene, **more)
    others = [await trainee(scene, host.seat) for _ in range(members - 1)]
    await live(scene, host)
    return [host, *others]


async def finish(scene: Scene, host: Trainee) -> None:
    """It is over, and the grace after it; the room hears of it."""
    await host.seat.do("group.finish")
    later(scene, GRACE_MS)
    for server in scene.servers:
        if (room := server.rooms.loaded(host.seat.group)) is not None:
            room.tick()


async def written(scene: Scene, group: str, such: Callable[[list[Result]], bool] = bool) -> list[Result]:
    """Wait until the table is such."""
    async with asyncio.timeout(PATIENCE):
        while not such(lines := await stored(scene, group)):
            await asyncio.sleep(0.02)
    return lines


def ranks(lines: list[Result]) -> list[tuple[int, int | None, int | None]]:
    return [(line.member, line.rank, line.amount) for line in lines]


async def test_the_table_is_written_when_the_grace_after_the_end_is_over(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await ben.log(5)
    await cleo.log(5)
    await host.log(4)
    await host.seat.do("group.finish")
    assert await stored(scene, host.seat.group) == []
    assert (await due_at(scene, host.seat.group))[0] is not None
    later(scene, GRACE_MS)
    (await scene.room(host.seat.group)).tick()
    lines = await written(scene, host.seat.group)
    assert ranks(lines) == [(2, 1, 5), (3, 1, 5), (1, 3, 4)]
    assert (lines[0].sets, lines[0].reps, lines[0].volume_ug) == (1, 5, 250_000_000_000)
    assert all(line.rev == 4 for line in lines)
    assert (await due_at(scene, host.seat.group))[0] is None, "nothing is due any more"


async def test_there_is_none_before_that_and_none_of_a_group_that_was_cancelled(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    await ben.log(5)
    room = await scene.room(host.seat.group)
    assert await room.stage.results() == []
    await host.seat.do("group.cancel")
    later(scene, GRACE_MS)
    room.tick()
    assert await room.stage.results() == await stored(scene, room.id) == []


async def test_late_syncs_and_edits_correct_it_where_somebody_is_in_the_room(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties, "CORRECT_MS", 50)
    monkeypatch.setattr(duties, "PAUSE_MS", 50)
    host, ben, cleo = await crew(scene)
    done = scene.server.clock()
    entity = await ben.log(5)
    await finish(scene, host)
    await written(scene, host.seat.group)
    await cleo.log(9, at=done)
    await written(scene, host.seat.group, lambda lines: ranks(lines)[0] == (3, 1, 9))
    await ben.edit(entity, "reps", 12)
    await written(scene, host.seat.group, lambda lines: ranks(lines)[0] == (2, 1, 12))


async def test_where_nobody_is_whoever_asks_for_it_gets_it_corrected(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    entity = await ben.log(5)
    await finish(scene, host)
    lines = await written(scene, host.seat.group)
    room = await scene.room(host.seat.group)
    for one in (host, ben):
        await one.wire.call("group:leave", {"group": room.id, "stay": True})
    scene.server.rooms.forget(room)
    await ben.remove(entity)
    other = new_id()
    again = Trainee(ben.seat, other)
    await again.begin()
    await ben.wrote(ben.wire.op("workout.merge", other, {"into": ben.workout}))
    assert await stored(scene, room.id) == lines
    room = await scene.room(room.id)
    expected = [(1, None, 0), (2, None, 0), (3, None, 0)]
    assert ranks(await room.stage.results()) == expected
    assert ranks(await stored(scene, room.id)) == expected


async def test_what_is_merged_into_the_group_s_workout_after_the_end_counts(scene: Scene) -> None:
    host, ben, _ = await crew(scene)
    other = await Trainee(ben.seat, new_id()).begin()
    await other.log(7)
    await finish(scene, host)
    lines = await written(scene, host.seat.group)
    assert all(line.amount == 0 for line in lines)
    await ben.wrote(ben.wire.op("workout.merge", other.workout, {"into": ben.workout}))
    room = await scene.room(host.seat.group)
    assert ranks(await room.stage.results())[0] == (2, 1, 7)
    await host.sees(2, rank=1, amount=7)


async def test_who_looked_on_or_had_to_go_has_no_line_and_who_left_has_one(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    looker: dict[str, Any] = {"as": "spectator"}
    await scene.join(host.seat, **looker)
    await ben.log(5)
    await cleo.log(6)
    await ben.wire.call("group:leave", {"group": host.seat.group})
    await host.seat.do("member.kick", {"member": 3})
    await finish(scene, host)
    assert ranks(await written(scene, host.seat.group)) == [(2, 1, 5), (1, None, 0)]


async def test_a_group_in_which_nobody_trained_is_written_too_and_due_no_more(scene: Scene) -> None:
    wire = await scene.wire()
    host = await scene.create(wire, format=RACE)
    await host.do("group.start", {"in_ms": 1_000})
    later(scene, 1_000)
    await host.do("member.hand_over", {"member": (await trainee(scene, host)).no})
    room = await scene.room(host.group)
    later(scene, RACE["limit_ms"] + GRACE_MS)
    room.tick()
    async with asyncio.timeout(PATIENCE):
        while (await due_at(scene, host.group))[1] is None:
            await asyncio.sleep(0.02)
    assert (await due_at(scene, host.group))[0] is None


async def test_a_line_that_is_frozen_keeps_what_it_has_and_its_place_among_the_others(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await ben.log(5)
    await cleo.log(7)
    await finish(scene, host)
    lines = await written(scene, host.seat.group)
    async with scene.server.db.write() as session:
        await GroupResults(session).freeze(host.seat.group, 3)
    await host.log(6)
    await host.wire.call("group:leave", {"group": host.seat.group, "stay": True})
    await ben.edit(await ben.log(1), "reps", 4)  # counts no more: the group is over
    room = await scene.room(host.seat.group)
    table = await room.stage.results()
    assert ranks(table) == ranks(lines) == [(3, 1, 7), (2, 2, 5), (1, None, 0)]
    assert [line.frozen for line in table] == [True, False, False]


def test_a_frozen_line_without_a_rank_gets_none_and_one_with_a_rank_may_lose_places() -> None:
    book = GroupBook().create(format=RACE)
    for no in (2, 3, 4):
        book.join(no)
    book("member.share", by=4, share="presence")

    def line(member: int, amount: int, rank: int | None = None, frozen: bool = False) -> Result:
        return Result(member, rank, amount, None, 1, amount, 0, 0, 0, 1, frozen)

    for no in (2, 3):
        book("member.erase", by=0, member=no)
    lines = [line(1, 9), line(2, 7, rank=1, frozen=True), line(3, 8, frozen=True), line(4, 10)]
    assert ranked(book.g, lines) == [
        replace(lines[0], rank=1),
        replace(lines[1], rank=2),
        lines[2],
        lines[3],
    ]


async def test_two_nodes_write_one_table(nodes: MakeScene) -> None:
    scene = await nodes(limits={"look_s": 0.3})
    host = await trainee(scene)
    others = [await trainee(scene, host.seat, server=scene.servers[1]) for _ in range(2)]
    await live(scene, host)
    for reps, one in enumerate((host, *others), 5):
        await one.log(reps)
    await finish(scene, host)
    lines = await written(scene, host.seat.group)
    assert ranks(lines) == [(3, 1, 7), (2, 2, 6), (1, 3, 5)]
    for server in scene.servers:
        room = await server.rooms.open(host.seat.group)
        assert await room.stage.results() == lines


@pytest.mark.parametrize("seed", range(3))
async def test_the_table_is_what_anybody_would_count_out_of_the_ops(scene: Scene, seed: int) -> None:
    """Sets of this test's own bookkeeping, ranked by comparing everybody with everybody."""
    dice = random.Random(seed)
    people = await crew(scene, members=5)
    done: dict[int, dict[str, int]] = {one.no: {} for one in people}
    over = False
    for step in range(60):
        one = dice.choice(people)
        mine = done[one.no]
        if step == 40:
            await finish(scene, people[0])
            over = True
        match dice.randrange(5):
            case 0 if mine:
                entity = dice.choice(sorted(mine))
                mine[entity] = dice.randrange(1, 9)
                await one.edit(entity, "reps", mine[entity])
            case 1 if mine:
                await one.remove(entity := dice.choice(sorted(mine)))
                del mine[entity]
            case _:
                entity = await one.log(reps := dice.randrange(1, 9))
                if not over:
                    mine[entity] = reps
    amounts = {no: sum(sets.values()) for no, sets in done.items()}
    expected = {
        no: (1 + sum(other > amount for other in amounts.values()) if amount else None, amount)
        for no, amount in amounts.items()
    }
    room = await scene.room(people[0].seat.group)
    table = await room.stage.results()
    assert {line.member: (line.rank, line.amount) for line in table} == expected
    assert await stored(scene, room.id) == table


async def test_somebody_else_s_workout_is_not_read(scene: Scene) -> None:
    host, ben, cleo = await crew(scene)
    await cleo.log(9)
    await ben.seat.do("member.workout", {"workout": cleo.workout})
    await host.sees(3, reps=9)
    await host.sees(2, reps=None, status=None)
    await finish(scene, host)
    room = await scene.room(host.seat.group)
    assert ranks(await room.stage.results()) == [(3, 1, 9), (1, None, 0), (2, None, 0)]
