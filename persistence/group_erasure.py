"""Erasing a person in the groups that they were in: nothing there leads to them any more.

One transaction a group, and each may be repeated. It appends `member.erase`, by which everybody who has the
group hears of it, and with that record, or not at all:

- their link, name and workout go (`Groups.project`);
- what they said is taken out of the log, where it lies (`engine.groups.erasing`);
- reports of it are deleted;
- their line in the final table is frozen.

The log is read and folded before, in sessions of its own, and the head is moved by compare-and-set like by
everybody: who holds the group elsewhere is not kept waiting, and whoever is faster is read behind. No node is
told: those that have the group find out when they next look at its position.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
from sqlalchemy import bindparam, null, select, update

from fitai.engine.groups.erasing import emptied
from fitai.engine.groups.fold import take
from fitai.engine.groups.group import SERVER_DEVICE, Group
from fitai.engine.groups.judgement import GroupLimits
from fitai.engine.ops import APPLIED, Op, Record
from fitai.persistence.append import Append, Appender, HeadMoved
from fitai.persistence.database import Database, ReadSession, WriteSession
from fitai.persistence.group_models import GroupMember
from fitai.persistence.group_reports import GroupReports
from fitai.persistence.group_results import GroupResults
from fitai.persistence.groups import GroupAt, Groups
from fitai.persistence.log import Log
from fitai.persistence.models import RecordRow
from fitai.sync.groups import GroupPlacer
from fitai.sync.log import Context, Position

PAGE = 2_000  # records that are read at once
PATIENCE_S = 60.0  # with which a long log is rewritten
_LIMITS = GroupLimits(ops=2**53)  # no group is too full to be left


async def membership(session: ReadSession, user: str) -> tuple[str, int] | None:
    """(group, member) of a group in which the user still is somebody, whether they are in it now or not."""
    query = select(GroupMember.group_id, GroupMember.member).where(GroupMember.user_id == user).limit(1)
    row = (await session.execute(query)).one_or_none()
    return None if row is None else (row.group_id, row.member)


async def erase_in_groups(db: Database, user: str, now: int) -> None:
    """Erase a user in all their groups; `now` in Unix ms. Raises Unavailable: what is left is done the next
    time."""
    appender = Appender(db, max_batch=1, patience=PATIENCE_S)
    await appender.start()
    try:
        while True:
            async with db.read() as session:
                found = await membership(session, user)
            if found is None:
                return
            await _erase(db, appender, *found, now)
    finally:
        await appender.close()


@dataclass(slots=True)
class _Reading:
    """A group's log as far as it was read, and what is to be taken out of it: {seq: the op that is left}."""

    at: GroupAt
    member: int
    group: Group
    position: Position = field(default_factory=Position)
    left: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def go_on(self, db: Database) -> None:
        """Read what came since; from the start when the log is another one now."""
        while True:
            async with db.read() as session:
                at = await Groups(session).row(self.at.id)
                assert at is not None, "groups are not deleted"
                if at.epoch != self.at.epoch:
                    self.group, self.left = Group(at.id), {}
                self.at = at
                log = Log(session)
                records = await log.read(at.stream, self.group.seq, PAGE)
                self.position = await log.device_position(at.stream, SERVER_DEVICE)
            for record in records:
                take(self.group, record)
                left = emptied(self.group, record, self.member)
                if left is not None:
                    self.left[record.seq] = left
            if self.group.seq >= at.head:
                return


async def _erase(db: Database, appender: Appender, group: str, member: int, now: int) -> None:
    async with db.read() as session:
        at = await Groups(session).row(group)
    assert at is not None, "its members are deleted with it"
    reading = _Reading(at, member, Group(group))
    while True:
        await reading.go_on(db)
        if reading.group.members[member].gone == "erased":
            return  # by another worker, at the same time
        g = deepcopy(reading.group)
        record = _placed(g, reading, now)
        also = partial(_leave_nothing, reading=reading, g=g, record=record, now=now)
        seen = reading.group.seq
        try:
            return await appender.append(
                Append(reading.at.stream, reading.at.epoch, seen, [record], also=also)
            )
        except HeadMoved:
            continue


def _placed(g: Group, reading: _Reading, now: int) -> Record:
    """`member.erase` at the head of `g`, which then holds it."""
    placer = GroupPlacer(g, reading.at.last_rt, {SERVER_DEVICE: reading.position}, _LIMITS)
    raw: dict[str, Any] = {
        "n": reading.position.next_n,
        "base": g.seq,
        "kind": "member.erase",
        "value": {"member": reading.member},
        "at": now,
    }
    op = Op(
        n=raw["n"],
        base=g.seq,
        clock=None,
        kind="member.erase",
        workout=g.id,
        entity=None,
        value=raw["value"],
        at=now,
        v=1,
        raw=raw,
    )
    [record] = placer.place_all(SERVER_DEVICE, [op], [Context(g.seq, None)], now)
    if record.verdict is not APPLIED:
        raise RuntimeError(f"{g.id}: member {reading.member} has a user and can not be erased: {record.code}")
    return record


async def _leave_nothing(
    session: WriteSession, *, reading: _Reading, g: Group, record: Record, now: int
) -> None:
    """What is written in the transaction of `member.erase`."""
    member = reading.member
    await Groups(session).project(g, reading.at.stream, [record], now)
    if reading.left:
        rows = [
            {"of_stream": reading.at.stream, "at_seq": seq, "left": orjson.dumps(raw)}
            for seq, raw in reading.left.items()
        ]
        await (await session.connection()).execute(_EMPTY, rows)
    devices = [device for device, whose in g.devices.items() if whose == member]
    await GroupReports(session).forget(g.id, devices)
    await GroupResults(session).freeze(g.id, member)


_RECORDS: Any = RecordRow.__table__
_EMPTY = (
    update(_RECORDS)
    .where(_RECORDS.c.stream == bindparam("of_stream"), _RECORDS.c.seq == bindparam("at_seq"))
    .values(body=bindparam("left"), detail=null())  # a detail may quote what was refused
)
