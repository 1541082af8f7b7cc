"""The final table of a group: worked out of the logs, and out of nothing that a node has in memory.

It is written when the grace after the end is over, and again whenever a workout is another one than the
line was worked out of, or a body is known now without which there was no amount (an amount stays: what
somebody weighs next year does not change what they did). By the node where somebody is in the room, else when
it is asked for. Lines of accounts that are gone are frozen; they keep what they did, and their place among
the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fitai.engine.entities import Workout
from fitai.engine.groups.board import board
from fitai.engine.groups.group import Group, Member
from fitai.engine.groups.measure import UNKNOWN, Body, Measure, measure, on_board, progress, weighs
from fitai.engine.groups.roles import TRAINING
from fitai.engine.groups.timers import due
from fitai.gateways.groups.watch import Watch
from fitai.persistence.families import read_families, read_revs
from fitai.persistence.group_results import GroupResults, Result
from fitai.persistence.groups import Groups

if TYPE_CHECKING:
    from fitai.gateways.groups.room import Room

AT_ONCE: Final = 50  # members whose workouts are read in one go
TURN: Final = 5  # and folded in one turn of the loop


async def results(room: Room) -> list[Result]:
    """The lines by rank, those without one last, as the logs have them now; what is new is written as well.
    There are none until the grace after the end is over. Raises Unavailable."""
    if not is_due(room.group, room.now_ms()):
        return []
    g, users = room.group, room.users
    members = trained(g)
    theirs = {
        no: (user, workout)
        for no in members
        if (user := users.get(no)) is not None and (workout := g.members[no].workout) is not None
    }
    async with room.hosts.db.read() as session:
        groups = Groups(session)
        row = await groups.row(g.id)
        stored = await GroupResults(session).of(g.id)
        bodies = await _bodies(groups, g)
        revs = dict(zip(theirs, await read_revs(session, list(theirs.values())), strict=True))
    lines = {one.member: one for one in stored if one.frozen or one.member in members}
    stale = [
        no
        for no in members
        if no not in lines or _is_stale(g, lines[no], revs.get(no, 0), bodies.get(no, UNKNOWN))
    ]
    lines |= await _lines(room, g, {no: theirs.get(no) for no in stale}, bodies)
    table = ranked(g, lines.values())
    if table != stored or row is None or row.results_at is None:
        await room.hosts.db.transact(lambda session: GroupResults(session).write(g.id, table, room.now_ms()))
    return table


def _is_stale(g: Group, one: Result, rev: int, body: Body) -> bool:
    """The workout is another one now, or the amount that could not be said for lack of a body now can."""
    if one.frozen:
        return False
    return one.rev != rev or (one.amount is None and _amount(measure(g.format, (), body)) is not None)


async def _bodies(groups: Groups, g: Group) -> dict[int, Body]:
    """What the members tell of their bodies now, where the board needs to know it."""
    return {row.member: row.body for row in await groups.members(g.id)} if weighs(g.format) else {}


def is_due(g: Group, now: int) -> bool:
    """Whether the table is to be written: the group is over, and the grace after its end."""
    at = due(g, now).results_at
    return at is not None and now >= at


async def _lines(
    room: Room, g: Group, theirs: Mapping[int, tuple[str, str] | None], bodies: Mapping[int, Body]
) -> dict[int, Result]:
    """The lines of these members, worked out of the log: {member: (user, workout), or None without one}."""

    def of(no: int, w: Workout | None, rev: int) -> Result:
        return line(g, g.members[no], w, rev, bodies.get(no, UNKNOWN))

    lines = {no: of(no, None, 0) for no, place in theirs.items() if place is None}
    places = [(no, *place) for no, place in theirs.items() if place is not None]
    for start in range(0, len(places), AT_ONCE):
        some = places[start : start + AT_ONCE]
        async with room.hosts.db.read() as session:
            families = await read_families(session, [(user, workout) for _, user, workout in some])
        for index, ((no, user, workout), family) in enumerate(zip(some, families, strict=True)):
            watch = Watch(user, workout)
            if family is not None:
                watch.load(family)
            lines[no] = of(no, watch.view(), watch.rev)
            if index % TURN == TURN - 1:
                await asyncio.sleep(0)
    return lines


def trained(g: Group) -> list[int]:
    """The members who have a line: those who trained, also if they left; not who looked on or had to go."""
    return [no for no, member in g.members.items() if _trained(member)]


def _trained(member: Member) -> bool:
    return member.role in TRAINING or (member.gone == "left" and member.was in TRAINING)


def line(g: Group, member: Member, w: Workout | None, rev: int, body: Body) -> Result:
    """A member's line, without a rank: that is a question of all."""
    done = progress(g, member, w, body)
    return Result(
        member=member.no,
        rank=None,
        amount=_amount(done.measure),
        time_ms=None if done.measure is None else done.measure.time_ms,
        sets=done.sets,
        reps=done.reps,
        distance_mm=done.distance_mm,
        duration_ms=done.duration_ms,
        volume_ug=done.volume_ug,
        rev=rev,
    )


def _amount(measure: Measure | None) -> int | None:
    return None if measure is None else measure.amount


def ranked(g: Group, lines: Iterable[Result]) -> list[Result]:
    """The lines in the order of the board, with their ranks. A frozen one that had a rank still has one."""
    lines = list(lines)
    rows = board(
        {
            one.member: Measure(one.amount, one.time_ms)
            for one in lines
            if (one.rank is not None if one.frozen else on_board(g, g.members[one.member]))
        }
    )
    placed = [replace(one, rank=rows[one.member].rank if one.member in rows else None) for one in lines]
    return sorted(placed, key=lambda one: (one.rank is None, one.rank or 0, one.member))
